import type { Caller } from "../caller.ts";

/**
 * Returns what two calls of one caller have in common: the identity, else the IP address, for IPv6 its /64, which one
 * machine usually has alone. `undefined` if there is neither: behind a trusted proxy that names no client, and on a Unix
 * socket. The connection is the caller then.
 */
export function keyOfCaller({ identity, peer: { address } }: Caller): string | undefined {
  if (identity !== undefined) return `identity ${identity}`;
  if (address === undefined) return undefined;
  return address.includes(":") ? `network ${networkOf(address)}` : `address ${address}`;
}

/** The first four groups of an IPv6 address. */
function networkOf(address: string): string {
  const [head = "", tail] = address.split("%", 1)[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const after = tail === "" ? [] : tail.split(":");
    // A dotted IPv4 part stands for two groups.
    const count = after.length + (tail.includes(".") ? 1 : 0);
    while (groups.length + count < 8) groups.push("0");
    groups.push(...after);
  }
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
