/** Watchers of a Centrifugo server: a WebSocket each, with JSON; posts by the HTTP API, in batches. */
import { Agent, request } from "node:http";
import { ROOM, TEXT } from "../job.ts";
import { type Crowd, type CrowdOptions, type CrowdOwner, each } from "./crowd.ts";
import { WebSocketClient } from "./websocket.ts";

const NEWLINE = 10;

export async function gather(options: CrowdOptions, owner: CrowdOwner): Promise<Crowd> {
  const { address, watchers } = options;
  const sockets: WebSocketClient[] = [];
  await each(watchers, async (n) => {
    const subscribed = Promise.withResolvers<void>();
    let replies = 0;
    const onReply = (line: string) => {
      if (line.includes('"error"')) owner.onLost(new Error(line));
      else if (++replies === 2) subscribed.resolve();
    };
    const socket = new WebSocketClient(address, "/connection/websocket", {
      onText(bytes, from, to) {
        // Only pings are this short, and a text with a ping contains nothing else.
        if (to - from < 4) return socket.send("{}");
        if (replies === 2) return owner.onMessages(n, linesIn(bytes, from, to));
        for (const line of bytes.toString("utf8", from, to).trim().split("\n")) {
          if (line.startsWith('{"push"')) owner.onMessages(n, 1);
          else onReply(line);
        }
      },
      onLost: owner.onLost,
    });
    sockets.push(socket);
    const subscribe = { id: 2, subscribe: { channel: ROOM } };
    socket.send(`${JSON.stringify({ id: 1, connect: {} })}\n${JSON.stringify(subscribe)}`);
    await subscribed.promise;
  });

  const agent = new Agent({ keepAlive: true });
  const [host, port] = address.split(":");
  const data = { name: "bench", text: TEXT };
  return {
    post(count) {
      const commands = Array.from({ length: count }, () => ({ publish: { channel: ROOM, data } }));
      const headers = { "content-type": "application/json" };
      const call = request({ host, port, path: "/api/batch", method: "POST", agent, headers });
      call.on("error", owner.onLost);
      call.on("response", (response) => {
        response.setEncoding("utf8");
        let text = "";
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () => {
          if (response.statusCode === 200 && !text.includes('"error"')) owner.onPosted(count);
          else owner.onLost(new Error(`Centrifugo answered ${response.statusCode} ${text}`));
        });
      });
      call.end(JSON.stringify({ commands }));
    },
    close() {
      for (const socket of sockets) socket.close();
      agent.destroy();
    },
  };
}

/** Counts the messages of a text: one a line. */
function linesIn(bytes: Buffer, from: number, to: number): number {
  let lines = 1;
  for (let at = from; at < to - 1; at++) if (bytes[at] === NEWLINE) lines++;
  return lines;
}
