/** The grpc-timeout header (gRPC PROTOCOL-HTTP2, "Timeout"): up to eight digits and a unit. */
import { Code } from "@connectrpc/connect";
import { peerFailure } from "../failure.ts";

/** When a call must have ended, whatever the number of its attempts. */
export interface Deadline {
  readonly timeoutMs: number;
  readonly endsAt: number;
}

const MAX_DIGITS = 8;
const ZERO = 0x30;

const UNIT_MS = new Map([
  ["H", 3_600_000],
  ["M", 60_000],
  ["S", 1000],
  ["m", 1],
  ["u", 1e-3],
  ["n", 1e-6],
]);

/** Reads a grpc-timeout header as milliseconds. Throws INVALID_ARGUMENT if it is not valid. */
export function parseTimeout(header: string): number {
  const digits = header.length - 1;
  const unitMs = UNIT_MS.get(header.charAt(digits));
  let count = digits >= 1 && digits <= MAX_DIGITS ? 0 : Number.NaN;
  // Not a regular expression: it would be a fiftieth of a unary call.
  for (let at = 0; at < digits; at++) {
    const digit = header.charCodeAt(at) - ZERO;
    count = digit >= 0 && digit <= 9 ? count * 10 + digit : Number.NaN;
  }
  if (unitMs !== undefined && !Number.isNaN(count)) return count * unitMs;
  throw peerFailure(
    Code.InvalidArgument,
    `protocol error: grpc-timeout "${header}" is not up to eight digits and a unit of H, M, S, m, u, n`,
  );
}

/** The header of a timeout, in the finest unit that fits eight digits. */
export function formatTimeout(timeoutMs: number): string {
  if (timeoutMs < 1) return `${Math.max(1, Math.ceil(timeoutMs * 1000))}u`;
  for (const unit of ["m", "S", "M", "H"]) {
    const count = Math.ceil(timeoutMs / (UNIT_MS.get(unit) as number));
    if (count < 1e8) return `${count}${unit}`;
  }
  return "99999999H";
}
