/** The grpc-timeout header (gRPC PROTOCOL-HTTP2, "Timeout"): up to eight digits and a unit. */
import { Code } from "@connectrpc/connect";
import { peerFailure } from "../failure.ts";

/** When a call must have ended, whatever the number of its attempts. */
export interface Deadline {
  readonly timeoutMs: number;
  readonly endsAt: number;
}

const UNIT_MS: Record<string, number> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Reads a grpc-timeout header as milliseconds. Throws INVALID_ARGUMENT if it is not valid. */
export function parseTimeout(header: string): number {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(header) ?? [];
  if (digits === undefined || unit === undefined) {
    throw peerFailure(
      Code.InvalidArgument,
      `protocol error: grpc-timeout "${header}" is not up to eight digits and a unit of H, M, S, m, u, n`,
    );
  }
  return Number(digits) * (UNIT_MS[unit] as number);
}

/** The header of a timeout, in the finest unit that fits eight digits. */
export function formatTimeout(timeoutMs: number): string {
  if (timeoutMs < 1) return `${Math.max(1, Math.ceil(timeoutMs * 1000))}u`;
  for (const unit of ["m", "S", "M", "H"]) {
    const count = Math.ceil(timeoutMs / (UNIT_MS[unit] as number));
    if (count < 1e8) return `${count}${unit}`;
  }
  return "99999999H";
}
