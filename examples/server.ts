/** The example server, Greeter and chat rooms: `npm start`. */
import { serve } from "./server/serve.ts";
import { main } from "./terminal/command.ts";

await main(serve);
