/** The processes of the comparisons of Hawser with itself: its server, and its clients with and without sessions. */
import { fileURLToPath } from "node:url";
import { Child } from "./child.ts";

const program = (file: string) => fileURLToPath(new URL(file, import.meta.url));

export const startServer = () => Child.start("server", [program("./servers/hawser.ts")]);

export const clients = {
  session: () => Child.start("client with sessions", [program("./clients/hawser-sessions.ts")]),
  plain: () => Child.start("client without", [program("./clients/hawser.ts")]),
};

export type Kind = keyof typeof clients;
