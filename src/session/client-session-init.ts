import type { ClientCallListener } from "../call-stream.ts";
import type { Clock } from "../flow/clock.ts";
import type { Acknowledgements } from "./acknowledgements.ts";
import type { BegunCall, Dialler, SessionWatcher } from "./attachment.ts";
import type { Window } from "./session-window.ts";
import type { NegotiatedSettings } from "./settings.ts";

/** What the client's half of a session is made of. */
export interface ClientSessionInit {
  /** Makes an id of a session: 128 random bits in hexadecimal digits. */
  readonly newId: () => string;
  readonly server: NegotiatedSettings;
  readonly window: Window;
  readonly clock: Clock;
  readonly acknowledgements: Acknowledgements;
  readonly dialler: Dialler;
  readonly call: ClientCallListener;
  readonly watcher: SessionWatcher | undefined;
  /**
   * Continues the call without a session, because the server takes no more. `undefined`: the call fails instead. The session
   * has ended before that, and calls nothing any more.
   */
  readonly continueWithout?: ((begun: BegunCall) => void) | undefined;
}
