/** The calls of the soak: of eight in a row four end well, four are cancelled or fail on purpose. */
import type { Greeter } from "../../gen/example/greeter_pb.js";
import { type Client, Code, ConnectError } from "../../src/index.ts";

type GreeterClient = Client<typeof Greeter>;

/** A call that rejects if its end was not the expected one. */
export type Call = (greeter: GreeterClient) => Promise<void>;

const deadlineMs = 20;

const hello: Call = async (greeter) => {
  const { reply } = await greeter.sayHello({ content: "soak" });
  expect(reply, "Hello, soak");
};

const helloCancelled: Call = async (greeter) => {
  const controller = new AbortController();
  // Some of these reach the server, some do not.
  setImmediate(() => setImmediate(() => controller.abort()));
  await fails(Code.Canceled, greeter.sayHello({ content: "wait" }, { signal: controller.signal }));
};

const helloFailed: Call = (greeter) => fails(Code.Aborted, greeter.sayHello({ content: "fail" }));

const helloThrown: Call = (greeter) => fails(Code.Internal, greeter.sayHello({ content: "throw" }));

const helloLate: Call = (greeter) =>
  fails(Code.DeadlineExceeded, greeter.sayHello({ content: "wait" }, { timeoutMs: deadlineMs }));

const chat: Call = async (greeter) => {
  const call = greeter.chat();
  for (let i = 0; i < 5; i++) await call.send({ content: `${i}` });
  call.closeSend();
  let received = 0;
  for await (const { reply } of call) expect(reply, `Received: ${received++}`);
  expect(received, 5);
};

const chatLeft: Call = async (greeter) => {
  const call = greeter.chat();
  await call.send({ content: "0" });
  await call.send({ content: "1" });
  let received = 0;
  for await (const _reply of call) if (++received === 2) break;
  expect(received, 2);
};

const chatCancelled: Call = async (greeter) => {
  const call = greeter.chat();
  await call.send({ content: "0" });
  const read = async () => {
    for await (const _reply of call) call.cancel();
  };
  await fails(Code.Canceled, read());
};

const chatFailed: Call = async (greeter) => {
  const call = greeter.chat();
  await call.send({ content: "0" });
  await call.send({ content: "fail" });
  await fails(Code.Aborted, drain(call));
};

const chatLate: Call = async (greeter) => {
  const call = greeter.chat({ timeoutMs: deadlineMs });
  await call.send({ content: "0" });
  await fails(Code.DeadlineExceeded, drain(call));
};

export const unary: readonly Call[] = [
  ...[hello, helloCancelled, hello, helloFailed],
  ...[hello, helloThrown, hello, helloLate],
];

export const bidirectional: readonly Call[] = [
  ...[chat, chatLeft, chat, chatCancelled],
  ...[chat, chatFailed, chat, chatLate],
];

async function drain(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _message of messages);
}

async function fails(code: Code, call: Promise<unknown>): Promise<void> {
  const error: unknown = await call.then(
    () => undefined,
    (error) => error,
  );
  if (error instanceof ConnectError && error.code === code) return;
  throw new Error(`expected ${Code[code]}, got ${error ?? "a good end"}`);
}

function expect<T>(got: T, wanted: T): void {
  if (got !== wanted) throw new Error(`expected ${wanted}, got ${got}`);
}
