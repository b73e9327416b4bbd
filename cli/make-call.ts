import type { DescMessage, Message } from "@bufbuild/protobuf";
import {
  type BidirectionalCall,
  type ClientStreamingCall,
  createClient,
  type ServerStreamingCall,
  type UnaryCall,
} from "hawser";
import type { Connected } from "../examples/terminal/call.ts";
import { usageError } from "../examples/terminal/command.ts";
import { converse } from "../examples/terminal/converse.ts";
import { printLine, toJsonLine } from "../examples/terminal/output.ts";
import { systemCode } from "../examples/terminal/report.ts";
import { announceResuming } from "../examples/terminal/resuming.ts";
import { shellWord } from "../examples/terminal/shell-word.ts";
import { Unfinished } from "../examples/terminal/unfinished.ts";
import { nameOf, type Target } from "./contract.ts";
import { beginAfter, cursorIn, hasCursor } from "./cursor.ts";
import { openRequests, readOneRequest } from "./requests.ts";

export interface CallToMake extends Connected, Target {
  /** The requests as they were typed; "-": they are on stdin. */
  readonly typed: readonly string[];
  /** The cursor after which the call begins. */
  readonly after: string | undefined;
  /** Whether what stderr has is JSON, too. */
  readonly json: boolean;
}

/** Makes a call and prints its responses. Rejects with the call's error, or with a usageError() before it begins. */
export async function makeCall(call: CallToMake): Promise<void> {
  const { method, after } = call;
  if (after !== undefined && !hasCursor(method)) {
    throw usageError(`--after: ${nameOf(method)} has no option hawser.v1.resume, and so no cursor`);
  }
  switch (method.methodKind) {
    case "unary":
      return await ask(call);
    case "server_streaming":
      return await listen(call);
    case "client_streaming":
      return await collect(call);
    case "bidi_streaming":
      return await talk(call);
  }
}

/** Returns the function of a client for a method: its kind, which decides the type, is known at run time only. */
function functionOf<Function>({ transport, method }: CallToMake): Function {
  return createClient(method.parent, transport)[method.localName] as unknown as Function;
}

const jsonOf = ({ method, registry }: Target, response: Message) =>
  toJsonLine(method.output, response, registry);

async function ask(call: CallToMake): Promise<void> {
  const request = await readOneRequest(call, call.typed, call.interruption);
  const sendOne = functionOf<UnaryCall<DescMessage, DescMessage>>(call);
  await printLine(jsonOf(call, await sendOne(request, call.options)));
}

async function listen(call: CallToMake): Promise<void> {
  const { method, after, typed, interruption, options, json } = call;
  const request = await readOneRequest(call, typed, interruption);
  if (after !== undefined) beginAfter(method, request, after);
  const subscribe = functionOf<ServerStreamingCall<DescMessage, DescMessage>>(call);
  const responses = subscribe(request, options);
  announceResuming(responses, json);
  let cursor: string | undefined;
  try {
    for await (const response of responses) {
      await printLine(jsonOf(call, response));
      cursor = cursorIn(method, response) ?? cursor;
    }
  } catch (error) {
    if (cursor === undefined || systemCode(error) === "EPIPE") throw error;
    throw new Unfinished(error, `continue with --after ${shellWord(cursor)}`);
  }
}

async function collect(call: CallToMake): Promise<void> {
  const { typed, interruption, options, json } = call;
  using requests = await openRequests(call, typed, interruption);
  const { speaker } = requests;
  const sink = functionOf<ClientStreamingCall<DescMessage, DescMessage>>(call)(options);
  announceResuming(sink, json, speaker.note);
  // The call can end while the input has no data: reading must then stop.
  const closed = new AbortController();
  sink.onState((state) => {
    if (state === "closed") closed.abort();
  });
  try {
    for await (const line of speaker.messages(closed.signal)) {
      const request = requests.requestOf(line);
      if (request !== undefined) await sink.send(request);
    }
  } catch (error) {
    // Else the call has ended: finish() has its response or its error.
    if (sink.state !== "closed") {
      sink.cancel(error);
      throw error;
    }
  }
  await speaker.print(jsonOf(call, await sink.finish()));
}

async function talk(call: CallToMake): Promise<void> {
  const { typed, interruption, options, json } = call;
  using requests = await openRequests(call, typed, interruption);
  const { speaker, requestOf } = requests;
  const duplex = functionOf<BidirectionalCall<DescMessage, DescMessage>>(call)(options);
  announceResuming(duplex, json, speaker.note);
  const print = (response: Message) => speaker.print(jsonOf(call, response));
  await converse(duplex, speaker, { requestOf, print });
}
