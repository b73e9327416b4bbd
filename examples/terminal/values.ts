/** Reads the values of options. */
import { Unreadable } from "./parameter.ts";

const UNIT_MS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const DURATION = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;

const UNIT_BYTES: Record<string, number> = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };

/** Ten years: longer than any call, and far below Number.MAX_SAFE_INTEGER. */
const LONGEST_MS = 10 * 365 * 24 * 3_600_000;

/** Reads `250ms`, `1s`, `1m30s`, `7d` or `0s`. Returns milliseconds. */
export function readDuration(text: string): number {
  if (!DURATION.test(text)) {
    throw new Unreadable("write a duration with its unit, such as 250ms, 1s or 1m30s");
  }
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    ms += Number(amount) * (UNIT_MS[unit as string] as number);
  }
  if (ms > LONGEST_MS) throw new Unreadable("write ten years (3650d) at most");
  return ms;
}

/** Reads a duration above 0, for a pause between repetitions. Returns milliseconds. */
export function readInterval(text: string): number {
  const ms = readDuration(text);
  if (ms === 0) throw new Unreadable("write a duration above 0, such as 2s");
  return ms;
}

/** Reads `20GB` or `1.5 MB`, in units of thousands. Returns bytes, above 0. */
export function readSize(text: string): number {
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?) ?([KMGT]?B)$/i.exec(text) ?? [];
  const bytes = Math.floor(Number(amount) * (UNIT_BYTES[unit.toUpperCase()] ?? 0));
  if (bytes > 0 && bytes <= Number.MAX_SAFE_INTEGER) return bytes;
  throw new Unreadable("write a size with its unit, such as 500MB or 20GB");
}

/** Reads a whole number in the range of a uint32 field. */
export function readCount(text: string): number {
  return readWhole(text, 2 ** 32 - 1);
}

/** Reads a TCP port; 0 picks a free one. */
export function readPort(text: string): number {
  return readWhole(text, 65_535);
}

function readWhole(text: string, largest: number): number {
  if (!/^\d+$/.test(text) || Number(text) > largest) {
    throw new Unreadable(`write a whole number from 0 to ${largest}`);
  }
  return Number(text);
}

/** Reads an http, https or unix address of a transport. */
export function readUrl(text: string): string {
  const network = /^https?:\/\//i.test(text) && URL.canParse(text);
  if (network || /^unix:./.test(text)) return text;
  throw new Unreadable(
    "write http://HOST:PORT, https://HOST:PORT or unix:PATH, such as http://127.0.0.1:50051",
  );
}

/** Reads one or more addresses, separated by commas. The path of a unix socket may contain commas too. */
export function readUrls(text: string): string[] {
  return text.split(/,(?=https?:|unix:|$)/i).map(readUrl);
}
