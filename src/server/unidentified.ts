import type { DescMethod } from "@bufbuild/protobuf";
import type { ServerRequest } from "../connection/server-request.ts";
import { asFailure } from "../failure.ts";
import type { KnownCaller } from "../grpc/caller.ts";
import { isThenable } from "../grpc/invoke.ts";
import { rawToHeaders } from "../grpc/metadata.ts";
import type { Callers } from "./callers.ts";

/** The requests of gRPC whose callers are being found out. At most a window of the body of each waits meanwhile. */
export class Unidentified {
  readonly #callers: Callers;
  readonly #onGone: () => void;
  readonly #requests = new Set<ServerRequest>();

  /** @param onGone called when a request no longer waits, and nothing serves it */
  constructor(callers: Callers, onGone: () => void) {
    this.#callers = callers;
    this.#onGone = onGone;
  }

  /** The number of requests that wait. */
  get size(): number {
    return this.#requests.size;
  }

  /** Calls `serve` when the caller is known: in this call, or later. Refuses the request if its caller is not allowed. */
  identify(request: ServerRequest, method: DescMethod, serve: () => void): void {
    const { connection, rawHeaders } = request;
    const { peer } = connection.caller;
    try {
      const caller = this.#callers.callerOf({ header: rawToHeaders(rawHeaders), peer, method });
      if (!isThenable(caller)) {
        request.caller = caller;
        serve();
        return;
      }
      this.#wait(request, caller, serve);
    } catch (error) {
      request.refuseCall(asFailure(error));
    }
  }

  /** Takes out the requests that wait: nothing serves them any more. */
  takeAll(): ServerRequest[] {
    const requests = [...this.#requests];
    this.#requests.clear();
    return requests;
  }

  #wait(request: ServerRequest, caller: PromiseLike<KnownCaller>, serve: () => void): void {
    this.#requests.add(request);
    const settle = (run: () => void) => {
      if (!this.#requests.delete(request)) return;
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
