import type { ConnectError } from "@connectrpc/connect";
import type { CallState } from "../client/call-lifecycle.ts";
import { asFailure } from "../failure.ts";

/** What a component sees of its call. */
export interface CallData<State> {
  /** The responses so far, as `reduce` has made them. */
  readonly data: State;
  /** The state of the call: "connecting" until it is open, "resuming" while it has lost its connection, "closed" at its end. */
  readonly state: CallState;
  /** The error with which the call has ended; `undefined` while it runs, and if it ended with OK. */
  readonly error: ConnectError | undefined;
  /**
   * Begins a new call: after the last response if the method declares a cursor and a response had one, else with `initial`. A
   * call that still runs is cancelled.
   */
  restart(): void;
}

/** A call that brings responses: a Duplex or a ServerStream. */
export interface ReceivingCall<Res> extends AsyncIterable<Res> {
  readonly state: CallState;
  onState(listener: (state: CallState) => void): Disposable;
  cancel(reason?: unknown): void;
}

export interface CallStoreSetup<Res, State, Call> {
  readonly initial: State;
  readonly reduce: (data: State, response: Res) => State;
  /** Begins a call, after the cursor if there is one. */
  readonly open: (cursor: string | undefined) => Call;
  /** Returns the cursor in a response; `undefined` if it has none, or the method declares none. */
  readonly cursorOf: (response: Res) => string | undefined;
}

/**
 * The call of a component, outside of React's state. It runs while something is subscribed. A component that is unmounted and
 * mounted again at once, as in StrictMode, keeps its call. One that comes back later (an <Activity> that is shown again)
 * gets a new call: after the last response that was reduced if that is possible, else all data begins again. Either way
 * each response is reduced once.
 */
export class CallStore<Res, State, Call extends ReceivingCall<Res>> {
  /** Set to the component's newest function after each of its renders. */
  reduce: (data: State, response: Res) => State;
  readonly #setup: CallStoreSetup<Res, State, Call>;
  readonly #listeners = new Set<() => void>();
  #call: Call | undefined;
  #data: State;
  #cursor: string | undefined;
  #error: ConnectError | undefined;
  /** Whether the call has ended by itself: only restart() begins another. */
  #hasEnded = false;
  #isTelling = false;
  #snapshot: CallData<State>;

  constructor(setup: CallStoreSetup<Res, State, Call>) {
    this.#setup = setup;
    this.reduce = setup.reduce;
    this.#data = setup.initial;
    this.#snapshot = {
      ...{ data: setup.initial, state: "connecting", error: undefined },
      restart: this.restart,
    };
  }

  /** The call that runs, or has ended; `undefined` before a component is mounted, and after it has left a call that ran. */
  get call(): Call | undefined {
    return this.#call;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#call === undefined && !this.#hasEnded) this.#begin();
    return () => {
      this.#listeners.delete(listener);
      // A component that is mounted again subscribes before this runs.
      setTimeout(() => {
        if (this.#listeners.size === 0 && !this.#hasEnded) this.#leave();
      });
    };
  };

  /** Stays the same object until something changes. */
  readonly snapshot = (): CallData<State> => this.#snapshot;

  readonly restart = (): void => {
    this.#leave();
    this.#hasEnded = false;
    this.#error = undefined;
    if (this.#listeners.size > 0) this.#begin();
  };

  #begin(): void {
    if (this.#cursor === undefined) this.#data = this.#setup.initial;
    const call = this.#setup.open(this.#cursor);
    this.#call = call;
    call.onState(() => {
      if (this.#call === call) this.#tell();
    });
    this.#tell();
    void this.#read(call);
  }

  #leave(): void {
    const call = this.#call;
    this.#call = undefined;
    call?.cancel();
  }

  async #read(call: Call): Promise<void> {
    let error: ConnectError | undefined;
    try {
      for await (const response of call) {
        if (this.#call !== call) return;
        this.#data = this.reduce(this.#data, response);
        this.#cursor = this.#setup.cursorOf(response) ?? this.#cursor;
        this.#tell();
      }
    } catch (thrown) {
      // Also what `reduce` throws, which has ended the call.
      error = asFailure(thrown);
    }
    if (this.#call !== call) return;
    this.#hasEnded = true;
    this.#error = error;
    this.#tell();
  }

  /** Tells the components once of all that happens in a turn of the event loop: each time they render. */
  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    setTimeout(() => {
      this.#isTelling = false;
      this.#snapshot = this.#look();
      for (const listener of this.#listeners) listener();
    });
  }

  #look(): CallData<State> {
    return { data: this.#data, state: this.#state, error: this.#error, restart: this.restart };
  }

  /** "closed" only when all responses are reduced: some may wait when the call itself is closed. */
  get #state(): CallState {
    if (this.#hasEnded) return "closed";
    const state = this.#call?.state ?? "connecting";
    return state === "closed" ? this.#snapshot.state : state;
  }
}
