import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Caller } from "../caller.ts";
import { failure } from "../failure.ts";
import { isThenable } from "../grpc/invoke.ts";
import { type Logger, log } from "../observe/logger.ts";
import { OnceAMinute } from "../observe/once-a-minute.ts";

/** A call that asks to be served. Its caller is known, and its body was not read. */
export interface AdmissionRequest {
  readonly caller: Caller;
  readonly method: DescMethod;
  /** The request headers. */
  readonly header: Headers;
}

/**
 * Decides whether a call is served, for example by a limiter. Throws, or rejects with, a ConnectError to refuse it. Any other
 * error is logged, at most once a minute, and the caller gets INTERNAL without its text.
 */
export type Admit = (call: AdmissionRequest) => void | Promise<void>;

/** Asks the option `admit` of a server. */
export class Admission {
  readonly #admit: Admit;
  readonly #logger: Pick<Logger, "error">;
  /** Limits what is logged of errors of `admit` that are no ConnectErrors. */
  readonly #failures = new OnceAMinute();

  constructor(admit: Admit, logger: Pick<Logger, "error">) {
    this.#admit = admit;
    this.#logger = logger;
  }

  /** Returns, or resolves, if the call is served. Throws, or rejects with, the ConnectError of one that is refused. */
  check(call: AdmissionRequest): void | Promise<void> {
    try {
      const answer: unknown = this.#admit(call);
      if (!isThenable(answer)) return;
      return Promise.resolve(answer).then(
        () => {},
        (error) => {
          throw this.#refusal(error);
        },
      );
    } catch (error) {
      throw this.#refusal(error);
    }
  }

  #refusal(error: unknown): ConnectError {
    if (error instanceof ConnectError) return error;
    const what = "admit failed, and its caller gets INTERNAL:";
    this.#failures.run(() => log(this.#logger, "error", what, error));
    return failure(Code.Internal, "internal error");
  }
}
