import type { DataSender } from "./data-sender.ts";
import { ConnectionError } from "./errors.ts";
import { DEFAULT_WINDOW_BYTES, FLOW_CONTROL_ERROR, MAX_WINDOW_BYTES } from "./frames.ts";
import type { HpackEncoder } from "./hpack/encoder.ts";
import type { Output } from "./output.ts";
import {
  ENABLE_PUSH,
  HEADER_TABLE_SIZE,
  INITIAL_WINDOW_SIZE,
  MAX_CONCURRENT_STREAMS,
  MAX_HEADER_LIST_SIZE,
  ReceivedSettings,
  SETTING_BYTES,
} from "./settings.ts";
import type { StreamTable } from "./stream-table.ts";
import type { PeerSettings } from "./types.ts";

/** What this side announces, and what the settings of either side act on: the connection. */
export interface SettingsHost {
  readonly isServer: boolean;
  readonly streamWindowBytes: number;
  readonly maxHeaderListBytes: number;
  /** Infinity: not announced. */
  readonly maxConcurrentStreams: number;
  readonly output: Output;
  readonly encoder: HpackEncoder;
  readonly sender: DataSender;
  readonly streams: StreamTable;
}

/** The SETTINGS of both sides (RFC 9113, 6.5). */
export class SettingsExchange {
  readonly #host: SettingsHost;
  readonly #received: ReceivedSettings;
  #isReceived = false;
  /** Whether the peer has acknowledged ours: they hold for it from then on. */
  #isAcknowledged = false;

  constructor(host: SettingsHost) {
    this.#host = host;
    this.#received = new ReceivedSettings(host.isServer);
  }

  /** Whether the peer's settings came, and it has acknowledged ours. */
  get isComplete(): boolean {
    return this.#isReceived && this.#isAcknowledged;
  }

  get isReceived(): boolean {
    return this.#isReceived;
  }

  get peer(): PeerSettings {
    return this.#received.peer;
  }

  /** The bytes that this side may send on a new stream. */
  get initialSendWindow(): number {
    return this.#received.initialWindow;
  }

  /** The bytes that the peer may send on a new stream. It may use a larger window before it acknowledges it. */
  get initialReceiveWindow(): number {
    const { streamWindowBytes } = this.#host;
    return this.#isAcknowledged
      ? streamWindowBytes
      : Math.max(streamWindowBytes, DEFAULT_WINDOW_BYTES);
  }

  sendOwn(): void {
    const { isServer, streamWindowBytes, maxHeaderListBytes, maxConcurrentStreams } = this.#host;
    const settings = [INITIAL_WINDOW_SIZE, streamWindowBytes];
    settings.push(MAX_HEADER_LIST_SIZE, maxHeaderListBytes);
    if (!isServer) settings.push(ENABLE_PUSH, 0);
    else if (Number.isFinite(maxConcurrentStreams)) {
      settings.push(MAX_CONCURRENT_STREAMS, maxConcurrentStreams);
    }
    this.#host.output.settings(settings);
  }

  /** Takes over the peer's settings. Returns whether its PeerSettings are the first ones, or have changed. */
  receive(bytes: Uint8Array, start: number, end: number): boolean {
    const { peer, initialWindow } = this.#received;
    for (let at = start; at < end; at += SETTING_BYTES) {
      const { identifier, value } = this.#received.read(bytes, at);
      if (identifier === HEADER_TABLE_SIZE) this.#host.encoder.setPeerTableBytes(value);
    }
    const by = this.#received.initialWindow - initialWindow;
    this.#changeSendWindows(by);
    // Before anything that uses them: they hold for this side from here on.
    this.#host.output.settingsAck();
    if (by > 0) for (const stream of this.#host.streams.all()) this.#host.sender.resume(stream);
    const isFirst = !this.#isReceived;
    this.#isReceived = true;
    return isFirst || this.#received.peer !== peer;
  }

  /** The peer acknowledges ours. Returns false if it has done so already. */
  receiveAck(): boolean {
    if (this.#isAcknowledged) return false;
    const by = this.#host.streamWindowBytes - this.initialReceiveWindow;
    this.#isAcknowledged = true;
    if (by !== 0) for (const stream of this.#host.streams.all()) stream.receiveWindow += by;
    return true;
  }

  /** SETTINGS_INITIAL_WINDOW_SIZE changes the windows of all streams (RFC 9113, 6.9.2); they may fall below 0. */
  #changeSendWindows(by: number): void {
    if (by === 0) return;
    for (const stream of this.#host.streams.all()) {
      stream.sendWindow += by;
      if (stream.sendWindow <= MAX_WINDOW_BYTES) continue;
      throw new ConnectionError(
        FLOW_CONTROL_ERROR,
        "SETTINGS_INITIAL_WINDOW_SIZE: a stream's window is over 2^31-1",
      );
    }
  }
}
