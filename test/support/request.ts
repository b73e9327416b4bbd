/** The requests of gRPC calls, as bytes on the wire. */
import type { Header } from "./hpack.ts";
import { envelope, headers } from "./wire.ts";

/** The headers of a gRPC request, which must not be changed by accident: `but` replaces and adds. */
export function requestHeaders(path: string, but: Readonly<Record<string, string>> = {}): Header[] {
  return Object.entries({
    ":method": "POST",
    ":scheme": "http",
    ":path": path.startsWith("/") ? path : `/example.Greeter/${path}`,
    ":authority": "127.0.0.1",
    te: "trailers",
    "content-type": "application/grpc",
    ...but,
  });
}

/** Opens a stream with a gRPC request to a method of Greeter, or to a path. */
export function request(
  stream: number,
  path: string,
  but: Readonly<Record<string, string>> = {},
  end = false,
): Buffer {
  return headers(stream, requestHeaders(path, but), end);
}

/** A MessageRequest or MessageResponse with this text, framed. */
export function message(content: string): Buffer {
  return envelope(text(content));
}

/** The bytes of a MessageRequest or MessageResponse: field 1 is the text. */
export function text(content: string): Buffer {
  const bytes = Buffer.from(content);
  const length: number[] = [];
  let rest = bytes.length;
  for (; rest > 127; rest >>>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.of(0x0a, ...length, rest), bytes]);
}
