import { BlockList, isIP } from "node:net";
import { type Check, type OptionPlace, wrong } from "../options.ts";
import type { TrustedProxies } from "../server/callers.ts";

const WANTED = 'an array of IP addresses, networks ("10.0.0.0/8"), "loopback" or "unix"';

const NETWORKS: Record<string, readonly string[]> = { loopback: ["127.0.0.0/8", "::1"] };

/** Accepts what trustedProxies() can read. */
export const trustedProxiesCheck: Check = (value, place) => {
  if (!Array.isArray(value)) throw wrong(place, value, WANTED);
  for (const [at, one] of value.entries()) {
    const { of, option } = place;
    checkProxy(one, { of, option: `${option}[${at}]` });
  }
};

function checkProxy(value: unknown, place: OptionPlace): void {
  if (typeof value === "string" && (value === "unix" || value in NETWORKS || isNetwork(value))) {
    return;
  }
  throw wrong(place, value, 'an IP address, a network ("10.0.0.0/8"), "loopback" or "unix"');
}

function isNetwork(value: string): boolean {
  const [address = "", prefix, ...more] = value.split("/");
  const version = isIP(address);
  if (version === 0 || more.length > 0) return false;
  if (prefix === undefined) return true;
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128);
}

/** @param proxies addresses and networks, which trustedProxiesCheck has accepted */
export function trustedProxies(proxies: readonly string[]): TrustedProxies {
  const list = new BlockList();
  for (const network of proxies.flatMap((one) => NETWORKS[one] ?? (one === "unix" ? [] : [one]))) {
    const [address = "", prefix] = network.split("/");
    const family = familyOf(address);
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  const trustsUnix = proxies.includes("unix");
  return {
    has: (address) =>
      address === undefined
        ? trustsUnix
        : isIP(address) !== 0 && list.check(address, familyOf(address)),
  };
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 6 ? "ipv6" : "ipv4";
}
