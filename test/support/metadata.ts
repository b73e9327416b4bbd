import { encodeBinaryHeader } from "@connectrpc/connect";
import { everyKind } from "./every-kind.ts";

/** 256 values, so that every base64 character and a padding occur. */
export const BYTES = Uint8Array.from({ length: 256 }, (_, n) => n);

/** Handlers of every kind that keep the received metadata and answer with headers and trailers. */
export function corresponding() {
  const received: Headers[] = [];
  const greeter = everyKind((context) => {
    received.push(context.requestHeader);
    context.responseHeader.set("x-leading", "from the server");
    context.responseHeader.append("x-twice", "one");
    context.responseHeader.append("x-twice", "two");
    context.responseHeader.set("x-leading-bin", encodeBinaryHeader(BYTES));
    context.responseTrailer.set("x-trailing", "at the end");
    context.responseTrailer.set("x-trailing-bin", encodeBinaryHeader(BYTES));
    return {};
  });
  return { received, greeter };
}
