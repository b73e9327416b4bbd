/** What a page does by hand with a WebSocket of the browser. */
import type { Gauge, Loops } from "./load.ts";

/** The messages that wait for their reply in an echo. With 100, or with 10,000, the rate is lower. */
const IN_FLIGHT = 1000;

/** One JSON message in each frame. */
export function jsonMessages(url: string): Loops {
  const echoOf = (inFlight: number) => async (size: number, gauge: Gauge) => {
    const content = "x".repeat(size);
    const socket = await open(`${url}/echo`);
    await echoed(socket, gauge, {
      inFlight,
      send() {
        socket.send(JSON.stringify({ content }));
        return 1;
      },
      read(data) {
        check(JSON.parse(data).reply.length >= size);
        return 1;
      },
    });
  };
  return {
    echo: echoOf(IN_FLIGHT),
    async push(size, gauge) {
      await pushed(await open(`${url}/push?size=${size}&each=1`), gauge, (data) => {
        check(JSON.parse(data).content.length === size);
        return 1;
      });
    },
    "ping-pong": echoOf(1),
    close() {},
  };
}

/** The messages in an array. */
const eachOf = (size: number) => (size < 1024 ? 100 : 50);

/** The messages that wait for their reply in an echo of arrays. */
const ARRAYS_IN_FLIGHT = 2000;

/** An array of messages in each frame, as JSON. */
export function jsonArrays(url: string): Loops {
  return {
    async echo(size, gauge) {
      const content = "x".repeat(size);
      const each = eachOf(size);
      const socket = await open(`${url}/echo`);
      await echoed(socket, gauge, {
        inFlight: ARRAYS_IN_FLIGHT,
        send() {
          const messages = Array.from({ length: each }, () => ({ content }));
          socket.send(JSON.stringify(messages));
          return each;
        },
        read(data) {
          const replies: { reply: string }[] = JSON.parse(data);
          for (const { reply } of replies) check(reply.length >= size);
          return replies.length;
        },
      });
    },
    async push(size, gauge) {
      const socket = await open(`${url}/push?size=${size}&each=${eachOf(size)}`);
      await pushed(socket, gauge, (data) => {
        const messages: { content: string }[] = JSON.parse(data);
        for (const { content } of messages) check(content.length === size);
        return messages.length;
      });
    },
    close() {},
  };
}

const FRAME_BYTES = 64 * 1024;

/** Binary frames that are counted, and not read: as many bytes a second as a WebSocket of this browser gives to a script. */
export function binaryFrames(url: string): Loops {
  return {
    async push(size, gauge) {
      const socket = await open(`${url}/binary?size=${FRAME_BYTES}`);
      socket.binaryType = "arraybuffer";
      await pushed<ArrayBuffer>(socket, gauge, ({ byteLength }) => byteLength / size);
    },
    close() {},
  };
}

function check(isRight: boolean): void {
  if (!isRight) throw new Error("a message has another length");
}

async function open(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url.replace("http", "ws"));
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`cannot open ${url}`));
  });
  return socket;
}

/** Keeps messages in flight, and counts the replies, until all have come after the end. `send` and `read` return how many. */
function echoed(
  socket: WebSocket,
  gauge: Gauge,
  { inFlight, send, read }: { inFlight: number; send(): number; read(data: string): number },
): Promise<void> {
  let waiting = 0;
  const fill = () => {
    while (gauge.running && waiting < inFlight) waiting += send();
  };
  return listen<string>(
    socket,
    (data) => {
      const replies = read(data);
      gauge.messages += replies;
      waiting -= replies;
      if (waiting <= inFlight / 2) fill();
      return waiting === 0;
    },
    fill,
  );
}

function pushed<Data = string>(
  socket: WebSocket,
  gauge: Gauge,
  read: (data: Data) => number,
): Promise<void> {
  return listen<Data>(socket, (data) => {
    gauge.messages += read(data);
    return !gauge.running;
  });
}

/** Calls `onData` for each message until it returns true; then closes the WebSocket. */
function listen<Data>(
  socket: WebSocket,
  onData: (data: Data) => boolean,
  begin = () => {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error?: unknown) => {
      socket.onmessage = socket.onclose = null;
      socket.close();
      if (error === undefined) resolve();
      else reject(error);
    };
    socket.onmessage = ({ data }) => {
      try {
        if (onData(data)) end();
      } catch (error) {
        end(error);
      }
    };
    socket.onclose = () => end(new Error("the WebSocket was closed"));
    begin();
  });
}
