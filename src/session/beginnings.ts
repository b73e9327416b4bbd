/** How many times attachment 1 is sent again after a server refused it without processing it (gRPC A6, transparent retry). */
const TRANSPARENT_RETRIES = 3;

/** How many times a session is replaced by a new one because it was too old for the server (session.proto, 4h). */
const REPLACEMENTS_MAX = 2;

/** Counts how often the session of a call has begun anew, because no server has it yet. */
export class Beginnings {
  #refusals = 0;
  #replacements = 0;

  /** Whether a server has refused attachment 1 without processing it. */
  get wasRefused(): boolean {
    return this.#refusals > 0;
  }

  /** A server refused attachment 1 without processing it. Returns whether it may be sent again. */
  mayRepeat(): boolean {
    return this.#refusals++ < TRANSPARENT_RETRIES;
  }

  /** The session is too old for its server. Returns whether a new one may replace it. */
  mayReplace(): boolean {
    return this.#replacements++ < REPLACEMENTS_MAX;
  }
}
