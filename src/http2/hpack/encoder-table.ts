import { FIELD_OVERHEAD } from "./field-list.ts";
import { type FieldKind, kindOf } from "./field-policy.ts";
import { hashText, slotOf } from "./hash.ts";
import { STATIC_BY_NAME, STATIC_COUNT, type StaticName } from "./static-table.ts";

/** The table begins anew when the fields that found it full add up to this many tables. */
const REFUSED_TABLES = 16;

/** How many values are remembered as seen once. A power of two. */
const SEEN_VALUES = 64;

/** How many names are remembered by their position in a list, for the next list. */
const POSITIONS = 16;

/**
 * Where a field is: the index of an entry of the static table, or STATIC_COUNT and the number of an entry of the dynamic
 * table, which does not change as its index does. Entries have numbers in the order of their insertion, from 1.
 */
type Place = number;

/** A name that is in a table. */
interface KnownName {
  readonly name: string;
  readonly kind: FieldKind;
  readonly staticName: StaticName | undefined;
  /** The place of the newest entry that has the name; 0 if only the static table has it. */
  place: Place;
  /** The value of that entry. Most names have one value: it needs no Map. */
  value: string | undefined;
  /** The places of the values in the dynamic table, if there are several. */
  values: Map<string, Place> | undefined;
  /** The value that was found last, and its place: most names have one value. */
  lastValue: string | undefined;
  lastPlace: Place;
}

/**
 * What the encoder knows of the peer's dynamic table. It never evicts an entry that it uses: it fills the table once, so
 * that the blocks of equal lists stay equal, and the peer can use again what it decoded. The first value of a name enters
 * the table at once; another one when it is seen for the second time, since values that never repeat (ids of requests and
 * traces) would fill the table.
 *
 * If fields of 16 times the table's size found it full, the encoder forgets all entries and begins anew, with the fields
 * that are in use then. That costs at most a sixteenth more octets. The peer evicts the forgotten entries, the oldest
 * first, as new ones come: all that are not forgotten fit.
 */
export class EncoderTable {
  readonly #names = new Map<string, KnownName>();
  /** The names of the last list, by position. */
  readonly #recent: KnownName[] = [];
  #maxBytes: number;
  #bytes = 0;
  #inserted = 0;
  #refusedBytes = 0;
  /** Changes with the indices of the entries. */
  version = 0;
  /** Changes whenever a field that was encoded may be encoded in another way the next time. */
  changes = 0;
  /** Hashes of fields. */
  #seen: Int32Array | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Entries stay valid if the table grows. */
  setMaxBytes(bytes: number): void {
    if (bytes < this.#maxBytes) this.forget();
    this.#maxBytes = bytes;
  }

  /** Forgets all entries. The peer may still have them. */
  forget(): void {
    this.#names.clear();
    this.#recent.length = 0;
    this.#bytes = 0;
    this.#inserted = 0;
    this.#refusedBytes = 0;
    this.version++;
    this.changes++;
  }

  /** @param position of the field in its list, a hint: lists of calls have the same names in the same order */
  nameOf(name: string, position: number): KnownName | undefined {
    const recent = this.#recent[position];
    if (recent !== undefined && recent.name === name) return recent;
    const known = this.#names.get(name) ?? this.#staticNameOf(name);
    if (known !== undefined && position <= this.#recent.length && position < POSITIONS) {
      this.#recent[position] = known;
    }
    return known;
  }

  /** Returns the index of a whole field, or 0 if no table has the field. */
  indexOf(known: KnownName, value: string): number {
    if (known.lastValue !== value) {
      // Only the first value of a changing field is in a table.
      if (known.kind === "changing") return 0;
      const place = placeOf(known, value) ?? known.staticName?.values.get(value);
      if (place === undefined) return 0;
      known.lastValue = value;
      known.lastPlace = place;
    }
    return this.#indexAt(known.lastPlace);
  }

  /** Returns an index that has the name. */
  indexOfName(known: KnownName): number {
    return known.staticName?.index ?? this.#indexAt(known.place);
  }

  /** Decides whether the field, which is in no table, enters this one. If so, it is added. `known`: see nameOf(). */
  admit(name: string, value: string, known: KnownName | undefined): boolean {
    const size = name.length + value.length + FIELD_OVERHEAD;
    // A larger one would leave too little to the others.
    if (size > this.#maxBytes / 2 || !this.#isWorth(value, known)) return false;
    if (this.#bytes + size > this.#maxBytes) {
      this.#refusedBytes += size;
      this.changes++;
      if (this.#refusedBytes < this.#maxBytes * REFUSED_TABLES) return false;
      this.forget();
    }
    this.#bytes += size;
    this.#inserted++;
    this.version++;
    this.changes++;
    // Not `known`, which may be forgotten.
    const added = this.#names.get(name) ?? this.#staticNameOf(name) ?? this.#know(name, undefined);
    if (added.value !== undefined) added.values ??= new Map([[added.value, added.place]]);
    added.place = STATIC_COUNT + this.#inserted;
    added.value = value;
    added.values?.set(value, added.place);
    added.lastValue = value;
    added.lastPlace = added.place;
    return true;
  }

  #isWorth(value: string, known: KnownName | undefined): boolean {
    // In an entry, a new name is worth more than its value.
    if (known === undefined) return true;
    if (known.kind === "changing") return false;
    return known.value === undefined || this.#isSeenAgain(known.name, value);
  }

  #isSeenAgain(name: string, value: string): boolean {
    const hash = hashText(value, hashText(name));
    const slot = slotOf(hash, SEEN_VALUES);
    this.#seen ??= new Int32Array(SEEN_VALUES);
    if (this.#seen[slot] === hash) return true;
    this.#seen[slot] = hash;
    this.changes++;
    return false;
  }

  #staticNameOf(name: string): KnownName | undefined {
    const staticName = STATIC_BY_NAME.get(name);
    return staticName === undefined ? undefined : this.#know(name, staticName);
  }

  #know(name: string, staticName: StaticName | undefined): KnownName {
    const known: KnownName = {
      name,
      kind: kindOf(name),
      staticName,
      place: 0,
      value: undefined,
      values: undefined,
      lastValue: undefined,
      lastPlace: 0,
    };
    this.#names.set(name, known);
    return known;
  }

  #indexAt(place: Place): number {
    return place <= STATIC_COUNT ? place : 2 * STATIC_COUNT + 1 + this.#inserted - place;
  }
}

/** The place in the dynamic table of a name with this value. */
function placeOf({ value: newest, place, values }: KnownName, value: string): Place | undefined {
  if (value === newest) return place;
  return values?.get(value);
}
