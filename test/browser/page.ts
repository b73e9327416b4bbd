/** What the tests call in the page: calls of hawser/web, whose results can pass to Node. */
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { ConnectError, createClient, createTransport, type TransportOptions } from "hawser/web";

interface Violation {
  readonly directive: string;
  readonly blocked: string;
}

const violations: Violation[] = [];
document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
  violations.push({ directive: effectiveDirective, blocked: blockedURI });
});
const restored: boolean[] = [];
addEventListener("pageshow", ({ persisted }) => restored.push(persisted));
const networkEvents: string[] = [];
for (const name of ["offline", "online"]) addEventListener(name, () => networkEvents.push(name));

/** The addresses of the WebSockets that the page has tried to open. */
const webSockets: string[] = [];
globalThis.WebSocket = class extends WebSocket {
  constructor(...args: ConstructorParameters<typeof WebSocket>) {
    webSockets.push(String(args[0]));
    super(...args);
  }
};

const open = (options: Partial<TransportOptions> = {}) => {
  const transport = createTransport({ baseUrl: location.origin, ...options });
  return { transport, greeter: createClient(Greeter, transport) };
};

/** A chat that stays open between two calls of the test. */
function openChat(options?: Partial<TransportOptions>) {
  const chat = open(options).greeter.chat();
  const began = performance.now();
  const states: [state: string, atMs: number][] = [];
  chat.onState((state) => states.push([state, performance.now() - began]));
  const result = { sent: 0, got: 0, wrong: 0, error: "" };
  const reading = (async () => {
    for await (const { reply } of chat) if (reply !== `Received: ${result.got++}`) result.wrong++;
  })();
  const ended = reading.catch((error) => {
    result.error = String(error);
  });
  return {
    async send(count: number) {
      for (let n = 0; n < count; n++) await chat.send({ content: `${result.sent++}` });
    },
    /** Ends the chat, and waits for all replies. */
    async end() {
      chat.closeSend();
      await ended;
      return this.read();
    },
    read: () => ({ ...result, states, resumable: chat.resumable, now: performance.now() - began }),
  };
}

/** Begins a push, and reads the first of its messages. */
async function openPush() {
  const { transport, greeter } = open({ sessions: false });
  const push = greeter.subscribe({ interval: { seconds: 0n } })[Symbol.asyncIterator]();
  await push.next();
  return { transport, greeter, push };
}

const chats = new Map<string, ReturnType<typeof openChat>>();
let push: Awaited<ReturnType<typeof openPush>> | undefined;

export const page = {
  /** What the policy has reported so far, and what it reports when this script makes code at run time: it must refuse that. */
  async policy() {
    const before = [...violations];
    const reported = new Promise((resolve) => {
      document.addEventListener("securitypolicyviolation", resolve, { once: true });
    });
    try {
      new Function("return 1")();
      return { before, isEvalAllowed: true };
    } catch {
      await reported;
      return { before, isEvalAllowed: false, after: violations.slice(before.length) };
    }
  },
  restored: () => restored,
  network: () => ({ events: networkEvents, isOnLine: navigator.onLine }),
  webSockets: () => webSockets,

  async everyKind(options?: Partial<TransportOptions>) {
    const { transport, greeter } = open(options);
    const { reply } = await greeter.sayHello({ content: "page" });
    const chat = greeter.chat();
    const replies: string[] = [];
    for (const content of ["a", "ä", "€"]) await chat.send({ content });
    chat.closeSend();
    for await (const { reply } of chat) replies.push(reply);
    const trailers = [...(await chat.trailers).keys()];
    const sink = greeter.collect();
    for (let n = 0; n < 10; n++) await sink.send({ content: "x".repeat(50_000) });
    const { count, bytes } = await sink.finish();
    const pushed: number[] = [];
    const push = greeter.subscribe({ count: 3, interval: { seconds: 0n } });
    for await (const { sequence } of push) pushed.push(Number(sequence));
    await transport.close();
    return { reply, replies, trailers, count, bytes: Number(bytes), pushed };
  },

  /** The code and the text of the error with which a call ends. */
  async failure(options: Partial<TransportOptions>, timeoutMs?: number) {
    const { transport, greeter } = open(options);
    try {
      for await (const _ of greeter.subscribe({}, { timeoutMs }));
      return undefined;
    } catch (error) {
      return { code: ConnectError.from(error).code, message: String(error) };
    } finally {
      await transport.close();
    }
  },

  /** Begins a push that is read no further than its first message. */
  async openPush() {
    push = await openPush();
  },

  /** Makes a call on the connection of the push. */
  async callBesidePush(content: string) {
    const { reply } = (await push?.greeter.sayHello({ content })) ?? {};
    return { reply, unreadBytes: push?.transport.stats().unreadBytes ?? 0 };
  },

  async endPush() {
    await push?.push.return?.();
    await push?.transport.close();
  },

  openChat(name: string, options?: Partial<TransportOptions>) {
    chats.set(name, openChat(options));
  },
  send: (name: string, count: number) => chats.get(name)?.send(count),
  end: (name: string) => chats.get(name)?.end(),
  read: (name: string) => chats.get(name)?.read(),
};

// In a task of the page's own: its policy does not hold for what a driver evaluates in it.
const inTask =
  (run: (...args: never[]) => unknown) =>
  (...args: never[]) =>
    new Promise((resolve) => setTimeout(resolve)).then(() => run(...args));
const functions = Object.entries(page).map(([name, run]) => [name, inTask(run)]);
Object.assign(window, { page: Object.fromEntries(functions) });
