/** FNV-1a with 32 bits, for caches with few slots. */
const OFFSET_BASIS = 0x811c9dc5;
const PRIME = 0x01000193;

/** The hash of the bytes from `start` up to `end`. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = OFFSET_BASIS;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), PRIME);
  return hash | 0;
}

/** The hash of the characters of a text. @param seed the hash of the text before it */
export function hashText(text: string, seed = 0): number {
  let hash = seed ^ OFFSET_BASIS;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), PRIME);
  return hash | 0;
}

/** The slot of a hash among `slots`, a power of two. */
export function slotOf(hash: number, slots: number): number {
  return (hash ^ (hash >>> 16)) & (slots - 1);
}
