/** A page that calls Greeter by the Connect protocol with fetch(), and the server behind it: Node's, not ours. */
import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { gzipSync } from "node:zlib";

const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
const hello = (content, init) => fetch("/example.Greeter/SayHello", {
  method: "POST",
  headers: { "content-type": "application/json", "connect-protocol-version": "1" },
  body: JSON.stringify({ content }),
  ...init,
});
await (await hello("Ada")).text();
await Promise.all(["one", "two", "three"].map(async (content) => (await hello(content)).text()));
const reader = (await fetch("/stream")).body.getReader();
while (!(await reader.read()).done);
await (await fetch("/gzip")).text();
await (await fetch("/missing")).text();
await (await fetch("/trailers")).text();
const controller = new AbortController();
const endless = await fetch("/endless", { signal: controller.signal });
await endless.body.getReader().read();
controller.abort();
await (await hello("0123456789".repeat(10_000))).text();
await fetch("/done", { method: "POST" });
</script>`;

export interface PageServer extends AsyncDisposable {
  readonly address: string;
  /** Resolves when the page has finished. */
  readonly done: Promise<void>;
}

export async function startPageServer(): Promise<PageServer> {
  const done = Promise.withResolvers<void>();
  const server = createServer();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    void answer(stream, headers[":path"] as string);
    if (headers[":path"] === "/done") done.resolve();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    done: done.promise,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

async function answer(stream: ServerHttp2Stream, path: string): Promise<void> {
  switch (path) {
    case "/":
      stream.respond({ ":status": 200, "content-type": "text/html" });
      stream.end(PAGE);
      return;
    case "/stream":
      stream.respond({ ":status": 200, "content-type": "text/plain" });
      for (const part of ["one ", "two ", "three"]) {
        stream.write(part);
        await setTimeout(5);
      }
      stream.end();
      return;
    case "/endless":
      stream.respond({ ":status": 200, "content-type": "text/plain" });
      stream.write("it continues");
      return;
    case "/gzip":
      stream.respond({ ":status": 200, "content-type": "text/plain", "content-encoding": "gzip" });
      stream.end(gzipSync("compress me ".repeat(100)));
      return;
    case "/trailers":
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-trail": "one" }));
      stream.end("with trailers");
      return;
    case "/example.Greeter/SayHello": {
      const parts: Buffer[] = [];
      for await (const part of stream) parts.push(part);
      const { content } = JSON.parse(Buffer.concat(parts).toString()) as { content: string };
      stream.additionalHeaders({ ":status": 103 });
      stream.respond({ ":status": 200, "content-type": "application/json" });
      stream.end(JSON.stringify({ reply: `Hello, ${content}` }));
      return;
    }
    case "/done":
      stream.respond({ ":status": 204 }, { endStream: true });
      return;
    default:
      stream.respond({ ":status": 404 }, { endStream: true });
  }
}
