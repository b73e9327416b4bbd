/** Watchers of a Socket.IO server: a WebSocket each, opened as the Socket.IO client opens it. */
import { ROOM, TEXT } from "../job.ts";
import { type Crowd, type CrowdOptions, type CrowdOwner, each } from "./crowd.ts";
import { WebSocketClient } from "./websocket.ts";

const PATH = "/socket.io/?EIO=4&transport=websocket";

/** The first characters of the server's texts, and of the answers to them. */
const PACKET = { open: "0", ping: "2", pong: "3", connect: "40", event: "42", ack: "43" };

export async function gather(options: CrowdOptions, owner: CrowdOwner): Promise<Crowd> {
  const { address, watchers } = options;
  const sockets: WebSocketClient[] = [];
  /** Opens a socket, and sends `first` on it. */
  const open = async (onEvent: () => void, onAck: () => void, first: string) => {
    const joined = Promise.withResolvers<void>();
    const socket = new WebSocketClient(address, PATH, {
      onText(bytes, from) {
        const kind = String.fromCharCode(bytes[from] as number);
        if (kind === PACKET.open) socket.send(PACKET.connect);
        else if (kind === PACKET.ping) socket.send(PACKET.pong);
        else if (bytes.toString("latin1", from, from + 2) === PACKET.connect) socket.send(first);
        else if (bytes.toString("latin1", from, from + 2) === PACKET.event) onEvent();
        else {
          joined.resolve();
          onAck();
        }
      },
      onLost: owner.onLost,
    });
    sockets.push(socket);
    await joined.promise;
    return socket;
  };
  const join = `${PACKET.event}0${JSON.stringify(["watch", ROOM])}`;
  await each(watchers, async (n) => {
    await open(
      () => owner.onMessages(n, 1),
      () => {},
      join,
    );
  });

  let ready = false;
  const hello = `${PACKET.event}0${JSON.stringify(["hello"])}`;
  const poster = await open(
    () => {},
    () => ready && owner.onPosted(1),
    hello,
  );
  ready = true;
  const message = JSON.stringify(["post", { room: ROOM, name: "bench", text: TEXT }]);
  return {
    post(count) {
      for (let n = 0; n < count; n++) poster.send(`${PACKET.event}1${message}`);
    },
    close() {
      for (const socket of sockets) socket.close();
    },
  };
}
