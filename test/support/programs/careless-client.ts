// A client without care: it awaits no send, reads no reply, listens to no promise but the answers of its
// unary calls, and closes nothing. Two rounds of calls have sessions, the next two have none, and so on. Whatever the
// server at argv[2] does, it must come to its end, argv[3] rounds later, and print how its unary calls ended.
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { Code, ConnectError, createClient, createTransport } from "../../../src/index.ts";

const [, , baseUrl = "", rounds = "1"] = process.argv;
const transport = createTransport({ baseUrl, connectTimeoutMs: 1_000 });
const greeter = createClient(Greeter, transport);
const endings: Record<string, number> = {};

for (let round = 0; round < Number(rounds); round++) {
  const session = round % 4 < 2;
  const chat = greeter.chat({ sessions: session });
  void chat.send({ content: "x".repeat(100_000) });
  void chat.send({ content: "y" });
  const push = greeter.subscribe({ count: 0 }, { sessions: session });
  const sink = greeter.collect({ sessions: session });
  void sink.send({ content: "z" });
  let ending = "OK";
  try {
    await greeter.sayHello({ content: "you" });
  } catch (error) {
    ending = Code[ConnectError.from(error).code] ?? "?";
  }
  endings[ending] = (endings[ending] ?? 0) + 1;
  if (round % 2 === 0) chat.closeSend();
  for (const call of [chat, push, sink]) call.cancel();
}
console.log(JSON.stringify(endings));
