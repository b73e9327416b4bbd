import { expect } from "vitest";
import { Code } from "../../src/index.ts";
import { type ConnectRouter, createServer } from "../../src/server.ts";
import { failureOf } from "./read.ts";

/** A value that a program without types may pass, although the types require another. */
export const wrongly = <T>(value: unknown) => value as T;

/** The error of what throws, or rejects; it must be INVALID_ARGUMENT. */
export async function refusalOf(run: () => unknown): Promise<string> {
  const error = await failureOf((async () => run())());
  expect(error.code).toBe(Code.InvalidArgument);
  return error.rawMessage;
}

/** A server with these routes, which does not listen. */
export const routesOf = (routes: (router: ConnectRouter) => unknown) =>
  createServer({ routes: (router) => void routes(router) });
