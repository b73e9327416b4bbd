import type { DescMethod } from "@bufbuild/protobuf";
import type { ServerRequest } from "../connection/server-request.ts";
import { asFailure, handled } from "../failure.ts";
import type { KnownCaller } from "../grpc/caller.ts";
import { isThenable } from "../grpc/invoke.ts";
import { rawToHeaders } from "../grpc/metadata.ts";
import type { Parties, Party } from "../sharing/parties.ts";
import { overLimit } from "../sharing/refusal.ts";
import type { Callers } from "./callers.ts";

/** A caller that is being found out, and what then serves the request. */
interface Pending {
  readonly caller: Promise<KnownCaller>;
  readonly serve: () => void;
}

/** The parts of its server that Unidentified uses. */
export interface IdentifyingServer {
  readonly callers: Callers;
  readonly parties: Parties;
}

/** The call that a request makes. */
export interface Identified {
  readonly method: DescMethod;
  /** Whether the call begins with this request. Called when its caller is known. */
  readonly isNew: () => boolean;
}

/**
 * The requests of gRPC whose callers are being found out, or which are not admitted yet. At most a window of the body of each
 * waits meanwhile. They count as open calls of the clients that they come from.
 */
export class Unidentified {
  readonly #callers: Callers;
  readonly #parties: Parties;
  readonly #onGone: () => void;
  readonly #requests = new Map<ServerRequest, Party>();

  /** @param onGone called when a request no longer waits, and nothing serves it */
  constructor({ callers, parties }: IdentifyingServer, onGone: () => void) {
    this.#callers = callers;
    this.#parties = parties;
    this.#onGone = onGone;
  }

  /** The number of requests that wait. */
  get size(): number {
    return this.#requests.size;
  }

  /**
   * Calls `serve` when the caller is known, and the call is admitted: in this call, or later. Refuses the request if its
   * caller is not allowed, or the call is not admitted.
   */
  identify(request: ServerRequest, { method, isNew }: Identified, serve: () => void): void {
    const { connection, rawHeaders } = request;
    const { peer } = connection.caller;
    try {
      const header = rawToHeaders(rawHeaders);
      const caller = this.#callers.callerOf({ header, peer, method }, isNew);
      if (!isThenable(caller)) {
        request.caller = caller;
        serve();
        return;
      }
      const client = this.#callers.clientOf(connection.caller, header);
      const party = this.#parties.of(connection, client);
      if (party.beginCall()) this.#wait(request, party, { caller, serve });
      else {
        handled(caller);
        refuseOver(request, party);
      }
    } catch (error) {
      request.refuseCall(asFailure(error));
    }
  }

  /** Takes out the requests that wait: nothing serves them any more. */
  takeAll(): ServerRequest[] {
    const requests = [...this.#requests.keys()];
    for (const party of this.#requests.values()) party.endCall();
    this.#requests.clear();
    return requests;
  }

  #wait(request: ServerRequest, party: Party, { caller, serve }: Pending): void {
    this.#requests.set(request, party);
    const settle = (run: () => void) => {
      if (!this.#requests.delete(request)) return;
      party.endCall();
      run();
      this.#onGone();
    };
    request.onClosedUnserved = () => settle(() => {});
    caller.then(
      (caller) =>
        settle(() => {
          request.caller = caller;
          serve();
        }),
      (error) => settle(() => request.refuseCall(asFailure(error))),
    );
  }
}

/** A session is not lost by this: its client attaches again. */
function refuseOver(request: ServerRequest, party: Party): void {
  const error = overLimit(party.caller, "calls", Math.random);
  if (request.fields.hasSession) request.refuse();
  else request.refuseCall(error);
}
