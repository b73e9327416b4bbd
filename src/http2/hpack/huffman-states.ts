/**
 * Decodes the Huffman code four bits at a time. A state is an inner node of the code's tree: the bits that were read of
 * a symbol that is not complete. Four bits complete at most one symbol, since the shortest code has five.
 */
import { CODE_BITS, CODES, EOS } from "./huffman-code.ts";

/** The state at the beginning of a string. */
export const START_STATE = 0;

/** The state after the code of EOS, which no string may contain. Every step from it leads to itself. */
export const EOS_STATE = 256 << 4;

/** Where a step has the bit that says that it completes the symbol in the step's low eight bits. */
export const COMPLETES_SHIFT = 8;

/** How far the next state is above the low bits of a step. */
export const NEXT_SHIFT = 9;

/** The step at `state | fourBits`. States are multiples of 16. */
export const STEPS: Readonly<Int32Array> = steps();

/** Whether a string may end in a state (at its number / 16): after fewer than eight bits, all ones (RFC 7541, 5.2). */
export const MAY_END: Readonly<Uint8Array> = mayEnd();

/** Returns the children of each inner node: another one, or the complement of a symbol. */
function tree(): [number, number][] {
  const nodes: [number, number][] = [[0, 0]];
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = (CODE_BITS[symbol] as number) - 1; bit >= 0; bit--) {
      const children = nodes[node] as [number, number];
      const side = ((CODES[symbol] as number) >>> bit) & 1;
      if (bit === 0) children[side] = ~symbol;
      else if (children[side] === 0) children[side] = nodes.push([0, 0]) - 1;
      node = children[side] as number;
    }
  }
  return nodes;
}

function steps(): Int32Array {
  const nodes = tree();
  const made = new Int32Array((nodes.length + 1) << 4).fill(EOS_STATE << NEXT_SHIFT);
  for (let state = 0; state < nodes.length; state++) {
    for (let fourBits = 0; fourBits < 16; fourBits++) {
      made[(state << 4) | fourBits] = stepFrom(nodes, state, fourBits);
    }
  }
  return made;
}

function stepFrom(nodes: [number, number][], state: number, fourBits: number): number {
  let node = state;
  let completed = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const child = nodes[node]?.[(fourBits >> bit) & 1] as number;
    if (child === ~EOS) return EOS_STATE << NEXT_SHIFT;
    if (child < 0) completed = (1 << COMPLETES_SHIFT) | ~child;
    node = Math.max(child, 0);
  }
  return (node << (4 + NEXT_SHIFT)) | completed;
}

function mayEnd(): Uint8Array {
  const nodes = tree();
  const made = new Uint8Array(nodes.length + 1);
  for (let node = 0, ones = 0; ones < 8; ones++) {
    made[node] = 1;
    node = nodes[node]?.[1] as number;
  }
  return made;
}
