/** A client whose calls are made in a page of Chromium, by hawser/web: the test's end of the channel to it. */
import { fileURLToPath } from "node:url";
import type { DescService } from "@bufbuild/protobuf";
import type { CallState, Client, ClosableTransport } from "../../../src/client-entry.ts";
import type { TransportOptions } from "../../../src/web.ts";
import type { ClientCensus } from "../census.ts";
import { launchChromium } from "../chromium.ts";
import { bundleForPage } from "./bundle.ts";
import { Channel } from "./channel.ts";
import { End } from "./end.ts";
import { toRemote } from "./interceptors.ts";

export interface PageClient extends AsyncDisposable {
  /** The origin of the page, which a server must allow. */
  readonly origin: string;
  createTransport(options: TransportOptions): ClosableTransport;
  createClient<Desc extends DescService>(service: Desc, transport: ClosableTransport): Client<Desc>;
  census(): ClientCensus;
}

const inPage = fileURLToPath(new URL("./in-page.ts", import.meta.url));

/** The number of the page's root object (in-page.ts). */
const ROOT = 1;

/** @param onFault gets what the page throws and nobody catches */
export async function openPageClient(onFault: (error: unknown) => void): Promise<PageClient> {
  const channel = new Channel(await bundleForPage(inPage));
  const url = await channel.url;
  const browser = await launchChromium();
  const page = await browser.newPage();
  page.on("pageerror", onFault);
  await page.goto(url);
  await channel.opened;

  const ask = (target: number, member: string, args: readonly unknown[] = []): unknown =>
    end.read(channel.ask(end.requestFor(target, member, args)));
  const end: End = new End({
    root: {},
    post: (text) => channel.post(text),
    later: setImmediate,
    make(kind, number) {
      if (kind === "call") return callInPage(end, number, ask);
      if (kind === "transport") return transportInPage(end, number, ask);
      return undefined;
    },
  });
  const services = new Map<string, DescService>();
  const serviceOf = (name: string) => services.get(name) as DescService;
  channel.onText = (text) => end.receive(text);

  return {
    origin: new URL(url).origin,
    createTransport({ interceptors = [], ...options }) {
      const remote = interceptors.map((one) => toRemote(one, serviceOf));
      const all = { ...options, ...(remote.length > 0 && { interceptors: remote }) };
      return ask(ROOT, "createTransport", [all]) as ClosableTransport;
    },
    createClient(service, transport) {
      services.set(service.typeName, service);
      const call =
        (method: string) =>
        (...args: unknown[]) =>
          ask(ROOT, "makeCall", [service.typeName, method, transport, ...args]);
      const calls = Object.keys(service.method).map((method) => [method, call(method)]);
      return Object.fromEntries(calls) as Client<typeof service>;
    },
    census: () => ask(ROOT, "census") as ClientCensus,
    [Symbol.asyncDispose]: async () => {
      await browser.close();
      await channel.close();
    },
  };
}

type Ask = (target: number, member: string, args?: readonly unknown[]) => unknown;

/** Stands for a Duplex, a Sink or a ServerStream of the page. */
function callInPage(end: End, number: number, ask: Ask): object {
  return {
    get state() {
      return ask(number, "state");
    },
    get resumable() {
      return ask(number, "resumable");
    },
    get headers() {
      return ask(number, "headers");
    },
    get trailers() {
      return ask(number, "trailers");
    },
    onState: (listener: (state: CallState) => void) => {
      ask(number, "onState", [listener]);
    },
    send: (...args: unknown[]) => end.call(number, "send", args),
    finish: () => end.call(number, "finish", []),
    closeSend: () => void end.call(number, "closeSend", []),
    cancel: (...args: unknown[]) => void end.call(number, "cancel", args),
    [Symbol.asyncIterator]: () => end.iterate(number),
    [Symbol.asyncDispose]: () => end.call(number, "asyncDispose", []),
  };
}

/** Stands for a transport of the page. Its calls are those of createClient() alone. */
function transportInPage(end: End, number: number, ask: Ask): object {
  return {
    get timeoutMs() {
      return ask(number, "timeoutMs");
    },
    stats: () => ask(number, "stats"),
    close: () => end.call(number, "close", []),
    [Symbol.asyncDispose]: () => end.call(number, "close", []),
  };
}
