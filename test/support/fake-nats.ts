import { once } from "node:events";
import { createServer, type Socket } from "node:net";

/** Answers a request to JetStream's API: by method ("STREAM.INFO.hawser"), with the received body. */
export type Api = (method: string, body: unknown) => object;

/** The part of a NATS server that the opening of a log needs, with faults that a real server does not have. */
export async function startFakeNats(
  version: string,
  api: Api,
): Promise<{ url: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const info = { server_id: "fake", version, proto: 1, headers: true, max_payload: 1_048_576 };
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    serve(socket, api);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    url: `nats://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function serve(socket: Socket, api: Api): void {
  const subscriptions = new Map<string, string>();
  let rest = "";
  socket.setEncoding("latin1").on("data", (text: string) => {
    rest += text;
    for (let end = rest.indexOf("\r\n"); end >= 0; end = rest.indexOf("\r\n")) {
      const [command, ...words] = rest.slice(0, end).split(" ");
      let next = end + 2;
      if (command === "PUB") {
        next += Number(words.at(-1)) + 2;
        if (rest.length < next) return;
        const [subject, reply] = words as [string, string];
        const body = JSON.parse(rest.slice(end + 2, next - 2) || "null");
        const answer = JSON.stringify(api(subject.replace("$JS.API.", ""), body));
        const inbox = [...subscriptions].find(([prefix]) => reply.startsWith(prefix));
        if (inbox) socket.write(`MSG ${reply} ${inbox[1]} ${answer.length}\r\n${answer}\r\n`);
      } else if (command === "SUB") {
        subscriptions.set((words[0] as string).replace("*", ""), words.at(-1) as string);
      } else if (command === "PING") {
        socket.write("PONG\r\n");
      }
      rest = rest.slice(next);
    }
  });
}
