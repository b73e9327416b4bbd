import { createClient, createTransport } from "hawser";
import { Greeter } from "hawser/gen/example/greeter_pb.js";

const greeter = createClient(Greeter, createTransport({ baseUrl: location.origin }));

const chat = greeter.chat();
await chat.send({ content: "ahoy" });
chat.closeSend();
for await (const { reply } of chat) document.body.append(reply);
document.body.append(chat.resumable ? " with a session" : " without a session");
