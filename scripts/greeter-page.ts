/** The page whose size is checked. Its streaming calls may have sessions, and those with a cursor continue from it. */

import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { createClient, createTransport } from "hawser/web";

const transport = createTransport({ baseUrl: location.origin });
const greeter = createClient(Greeter, transport);

const chat = greeter.chat();
await chat.send({ content: "ahoy" });
for await (const { reply } of chat) document.body.append(reply);
