/** Clients that ask for much, and read all of it. */
import { message, request } from "../../../support/request.ts";
import { data } from "../../../support/wire.ts";
import { attack } from "../attack.ts";
import { type Attacker, WIDE } from "../attacker.ts";

/** A unary request: its path, and its framed message. */
export interface UnaryRequest {
  readonly path: string;
  readonly body: Buffer;
}

export const busyAttack = attack({
  name: "busy-unary",
  does: "one connection with 1,000 unary calls at any time",
  sizes: [
    { connections: 1, atOnce: 1000, bytes: 20 },
    { connections: 1, atOnce: 100, bytes: 60_000 },
    { connections: 20, atOnce: 100, bytes: 1000 },
  ],
  run: (attacker, { connections, atOnce, bytes }) =>
    callsAtOnce(attacker, { connections, atOnce }, () => ({
      path: "SayHello",
      body: message("x".repeat(bytes)),
    })),
});

/** Keeps that many unary calls open on each connection, until the time is over or `most` were made. */
export async function callsAtOnce(
  attacker: Attacker,
  { connections, atOnce, most = 1_000_000 }: { connections: number; atOnce: number; most?: number },
  next: (n: number) => UnaryRequest,
): Promise<void> {
  let made = 0;
  for (const client of await attacker.connectAll(connections, WIDE)) {
    let stream = -1;
    const call = () => {
      if (made >= most || attacker.isOver) return;
      const { path, body } = next(made++);
      stream += 2;
      client.write(request(stream, path), data(stream, body, true));
      attacker.count("calls");
    };
    client.onEnd = call;
    for (let n = 0; n < atOnce; n++) call();
  }
  await attacker.untilOver();
}
