import { createClient, createTransport } from "hawser";
import { Greeter } from "hawser/gen/example/greeter_pb.js";

const [baseUrl = "http://127.0.0.1:50051"] = process.argv.slice(2);
await using transport = createTransport({ baseUrl });
const greeter = createClient(Greeter, transport);

const chat = greeter.chat();

async function talk() {
  for (let i = 0; i < 3; i++) await chat.send({ content: `Message ${i}` });
  chat.closeSend();
}

async function listen() {
  for await (const { reply } of chat) console.log("Server says:", reply);
}

await Promise.all([talk(), listen()]);
