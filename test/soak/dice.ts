/** Chance that can be had again: equal seeds give equal throws. */
export class Dice {
  #state: number;

  constructor(...seed: number[]) {
    this.#state = seed.reduce((state, part) => mix(state ^ part), 0x2545f491);
  }

  /** At least 0, less than 1. */
  float(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    return mix(this.#state) / 2 ** 32;
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.float() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }

  pick<T>(...choices: [T, ...T[]]): T {
    return choices[this.between(0, choices.length - 1)] as T;
  }
}

/** Scatters the bits of a number over 32. */
export function mix(bits: number): number {
  let mixed = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
