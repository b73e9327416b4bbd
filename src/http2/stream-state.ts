/**
 * The states of a stream (RFC 9113, 5.1). Push is never enabled, so no stream is ever reserved. An id that is idle, or
 * whose stream was closed, has no Stream object: StreamTable and ClosedStreams decide on frames for such ids.
 *
 *                            ┌──────┐
 *                            │ idle │
 *                            └──┬───┘
 *                               │ HEADERS
 *                            ┌──▼───┐
 *              SENT_END ┌────┤ OPEN ├────┐ RECEIVED_END
 *                       │    └──┬───┘    │
 *         HALF_CLOSED_LOCAL     │     HALF_CLOSED_REMOTE
 *                       │       │        │
 *          RECEIVED_END └────┐  │  ┌─────┘ SENT_END
 *                          ┌─▼──▼──▼┐
 *                          │ CLOSED │  by RESET from each state
 *                          └────────┘
 */
export const OPEN = 0;
export const HALF_CLOSED_LOCAL = 1;
const HALF_CLOSED_REMOTE = 2;
export const CLOSED = 3;

export type StreamState =
  | typeof OPEN
  | typeof HALF_CLOSED_LOCAL
  | typeof HALF_CLOSED_REMOTE
  | typeof CLOSED;

/** END_STREAM was sent. */
export const SENT_END = 0;
/** END_STREAM was received. */
export const RECEIVED_END = 1;
/** RST_STREAM was sent or received, or the connection has ended. */
export const RESET = 2;

export type StreamEvent = typeof SENT_END | typeof RECEIVED_END | typeof RESET;

/** The next state, by the state and the event. An end that has been sent, or received, already changes nothing. */
export const TRANSITIONS: readonly (readonly [StreamState, StreamState, StreamState])[] = [
  // SENT_END, RECEIVED_END, RESET
  [HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, CLOSED], // OPEN
  [HALF_CLOSED_LOCAL, CLOSED, CLOSED], // HALF_CLOSED_LOCAL
  [CLOSED, HALF_CLOSED_REMOTE, CLOSED], // HALF_CLOSED_REMOTE
  [CLOSED, CLOSED, CLOSED], // CLOSED
];
