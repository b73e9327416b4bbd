/** Frames that a correct engine never sends, written by test/support/wire.ts. */
import { describe, expect, test } from "vitest";
import { data, Http2Code, Type } from "../support/wire.ts";
import { answering, request } from "./support/exchanges.ts";
import { RawPeer, requestFrame } from "./support/raw-peer.ts";
import { prefaces, type Violation, violations } from "./support/violations.ts";

const { PROTOCOL_ERROR, FRAME_SIZE_ERROR } = Http2Code;

/** An engine as the server, or as a client that has a request open on stream 1. */
function engine(role: "server" | "client"): RawPeer {
  const peer = new RawPeer({
    role,
    ...(role === "server" ? { hooks: answering.hooks } : {}),
  }).begin();
  if (role === "client") peer.end.open(request("/echo"));
  return peer.read();
}

/** Splits what a peer sends as a server does it, without the frames that only a client sends. */
function sent({ bytes }: Violation, role: "server" | "client"): readonly Buffer[] {
  return role === "server"
    ? bytes
    : bytes.filter((one) => !one.equals(requestFrame(1, "/endless")));
}

function rolesOf({ to }: Violation): readonly ("server" | "client")[] {
  return to === "both" ? ["server", "client"] : [to];
}

const cases = violations.flatMap((violation) =>
  rolesOf(violation).map((role) => ({ ...violation, role })),
);

describe.each(cases.filter(({ goaway }) => goaway !== undefined))(
  "$what, to a $role",
  (violation) => {
    test(`ends the connection with ${nameOf(violation.goaway)}`, () => {
      const { role } = violation;
      const peer = engine(role).write(...sent(violation, role));
      expect(peer.goaway).toBe(violation.goaway);
      expect(peer.end.end).toMatchObject({ by: "failed", code: violation.goaway });
      expect(peer.end.end?.reason).not.toBe("");
      expect(peer.end.openStreams).toEqual([]);
      expect(peer.end.time.timers).toBe(0);
      expect(peer.end.violations).toEqual([]);
    });
  },
);

describe.each(cases.filter(({ reset }) => reset !== undefined))(
  "$what, to a $role",
  (violation) => {
    test(`resets the stream with ${nameOf(violation.reset)}, and no other one`, () => {
      const { role } = violation;
      const peer = engine(role);
      if (role === "client") peer.end.open(request("/echo"));
      peer.write(...sent(violation, role));
      expect(peer.goaway).toBeUndefined();
      expect(peer.reset(1)).toBe(violation.reset);
      expect(peer.end.streams[0]?.closed ?? { by: "invalid" }).toMatchObject({ by: "invalid" });
      if (role === "server") {
        peer.write(requestFrame(11, "/unary"), data(11, Buffer.from("abcdef"), true));
        expect(peer.isAnswered(11)).toBe(true);
      } else {
        expect(peer.end.openStreams.map((log) => log.stream.id)).toEqual([3]);
      }
      expect(peer.end.violations).toEqual([]);
    });
  },
);

test.each(cases.filter(({ ignored }) => ignored))("$what, to a $role, is ignored", (violation) => {
  const { role } = violation;
  const peer = engine(role).write(...sent(violation, role));
  expect(peer.goaway).toBeUndefined();
  expect(peer.of(Type.RST_STREAM)).toEqual([]);
  expect(peer.end.end).toBeUndefined();
  expect(peer.end.violations).toEqual([]);
});

test.each(prefaces)("$what, to a $to, ends the connection", ({ to, bytes }) => {
  const peer = new RawPeer({ role: to });
  peer.read().write(...bytes);
  expect(peer.end.end).toMatchObject({ by: "failed" });
  // A text of HTTP/1.1 is a frame of 4 MiB.
  const codes: readonly (number | undefined)[] = [PROTOCOL_ERROR, FRAME_SIZE_ERROR];
  expect(codes).toContain(peer.end.end?.code);
  expect(peer.end.time.timers).toBe(0);
  expect(peer.end.violations).toEqual([]);
});

function nameOf(code: number | undefined): string {
  return Object.entries(Http2Code).find(([, value]) => value === code)?.[0] ?? `${code}`;
}
