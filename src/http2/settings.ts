import { ConnectionError } from "./errors.ts";
import {
  DEFAULT_WINDOW_BYTES,
  FLOW_CONTROL_ERROR,
  MAX_FRAME_BYTES,
  MAX_WINDOW_BYTES,
  PROTOCOL_ERROR,
  readUint32,
} from "./frames.ts";
import type { PeerSettings } from "./types.ts";

/** Identifiers (RFC 9113, 6.5.2). */
export const HEADER_TABLE_SIZE = 1;
export const ENABLE_PUSH = 2;
export const MAX_CONCURRENT_STREAMS = 3;
export const INITIAL_WINDOW_SIZE = 4;
const MAX_FRAME_SIZE = 5;
export const MAX_HEADER_LIST_SIZE = 6;

/** The bytes of one setting. */
export const SETTING_BYTES = 6;

const LARGEST_MAX_FRAME_SIZE = 2 ** 24 - 1;

/** The values of the peer's SETTINGS, which begin with those of RFC 9113, 6.5.2. */
export class ReceivedSettings {
  /** The bytes that this side may send on a stream at first. */
  initialWindow = DEFAULT_WINDOW_BYTES;
  /** A new object whenever a value changes. */
  peer: PeerSettings = {
    maxConcurrentStreams: Number.POSITIVE_INFINITY,
    maxHeaderListBytes: Number.POSITIVE_INFINITY,
  };
  readonly #isServer: boolean;

  constructor(isServer: boolean) {
    this.#isServer = isServer;
  }

  /**
   * Takes over one setting; what is not known is ignored. Returns its identifier and value. Throws a ConnectionError if
   * the value is not valid.
   */
  read(bytes: Uint8Array, at: number): { readonly identifier: number; readonly value: number } {
    const identifier = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    const value = readUint32(bytes, at + 2);
    checkSetting(identifier, value, this.#isServer);
    if (identifier === INITIAL_WINDOW_SIZE) this.initialWindow = value;
    else if (identifier === MAX_CONCURRENT_STREAMS) this.#set({ maxConcurrentStreams: value });
    else if (identifier === MAX_HEADER_LIST_SIZE) this.#set({ maxHeaderListBytes: value });
    return { identifier, value };
  }

  #set(changed: Partial<PeerSettings>): void {
    const next = { ...this.peer, ...changed };
    const isSame =
      next.maxConcurrentStreams === this.peer.maxConcurrentStreams &&
      next.maxHeaderListBytes === this.peer.maxHeaderListBytes;
    if (!isSame) this.peer = next;
  }
}

function checkSetting(identifier: number, value: number, isServer: boolean): void {
  switch (identifier) {
    case ENABLE_PUSH:
      // Only a client may allow push.
      if (value <= (isServer ? 1 : 0)) return;
      throw new ConnectionError(PROTOCOL_ERROR, `SETTINGS_ENABLE_PUSH is ${value}`);
    case INITIAL_WINDOW_SIZE:
      if (value <= MAX_WINDOW_BYTES) return;
      throw new ConnectionError(FLOW_CONTROL_ERROR, `SETTINGS_INITIAL_WINDOW_SIZE is ${value}`);
    case MAX_FRAME_SIZE:
      if (value >= MAX_FRAME_BYTES && value <= LARGEST_MAX_FRAME_SIZE) return;
      throw new ConnectionError(PROTOCOL_ERROR, `SETTINGS_MAX_FRAME_SIZE is ${value}`);
  }
}
