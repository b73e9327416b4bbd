/**
 * HPACK (RFC 7541), as much as a test peer needs: it writes every header as a literal without indexing, and reads
 * whatever a real encoder makes, dynamic table and Huffman code included.
 */
export type Header = readonly [name: string, value: string];

/** A header block. Every field is a literal with a new name: no state on either side. */
export function encodeHeaders(list: readonly Header[]): Buffer {
  const block: Buffer[] = [];
  for (const [name, value] of list) {
    block.push(Buffer.of(0), literal(name), literal(value));
  }
  return Buffer.concat(block);
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([integer(bytes.length), bytes]);
}

/** An integer with a 7-bit prefix whose eighth bit is zero (RFC 7541, 5.1). */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.of(value);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.of(...bytes, rest);
}

/** Decodes header blocks; each connection needs its own, for its dynamic table. */
export class HeaderDecoder {
  readonly #dynamic: Header[] = [];
  #capacity = 4096;

  decode(block: Buffer): Header[] {
    const list: Header[] = [];
    const reader = new BlockReader(block);
    while (!reader.done) {
      const first = reader.peek;
      if (first & 0x80) {
        list.push(this.#at(reader.integer(7)));
      } else if ((first & 0xe0) === 0x20) {
        this.#capacity = reader.integer(5);
        this.#evict();
      } else {
        const indexing = (first & 0x40) !== 0;
        const index = reader.integer(indexing ? 6 : 4);
        const name = index === 0 ? reader.string() : this.#at(index)[0];
        const header: Header = [name, reader.string()];
        list.push(header);
        if (indexing) {
          this.#dynamic.unshift(header);
          this.#evict();
        }
      }
    }
    return list;
  }

  #at(index: number): Header {
    const header = STATIC[index - 1] ?? this.#dynamic[index - 1 - STATIC.length];
    if (header === undefined) throw new Error(`HPACK: no header has the index ${index}`);
    return header;
  }

  #evict(): void {
    let size = 0;
    const fits = this.#dynamic.findIndex(([name, value]) => {
      size += name.length + value.length + 32;
      return size > this.#capacity;
    });
    if (fits >= 0) this.#dynamic.length = fits;
  }
}

class BlockReader {
  readonly #block: Buffer;
  #at = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  get done(): boolean {
    return this.#at >= this.#block.length;
  }

  get peek(): number {
    return this.#block[this.#at] as number;
  }

  integer(prefixBits: number): number {
    const most = 2 ** prefixBits - 1;
    let value = this.#block.readUInt8(this.#at++) & most;
    if (value < most) return value;
    for (let weight = 1; ; weight *= 128) {
      const byte = this.#block.readUInt8(this.#at++);
      value += (byte & 127) * weight;
      if (byte < 128) return value;
    }
  }

  string(): string {
    const huffman = (this.peek & 0x80) !== 0;
    const length = this.integer(7);
    const bytes = this.#block.subarray(this.#at, this.#at + length);
    this.#at += length;
    return huffman ? unhuffman(bytes) : bytes.toString("latin1");
  }
}

/**
 * The Huffman code is canonical, so the symbols of each length say it all. Those beyond 19 bits are not printable
 * ASCII and in no header of these tests.
 */
const SYMBOLS: Readonly<Record<number, string>> = {
  5: "012aceiost",
  6: " %-./3456789=A_bdfghlmnpru",
  7: ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
  8: "&*,;XZ",
  10: '!"()?',
  11: "'+|",
  12: "#>",
  13: "\0$@[]~",
  14: "^}",
  15: "<`{",
  19: "\\",
};

const HUFFMAN = huffmanCode();

/** From the code, a leading 1 bit before it, to the character. */
function huffmanCode(): ReadonlyMap<number, string> {
  const codes = new Map<number, string>();
  let code = 0;
  for (let length = 5; length <= 19; length++) {
    for (const symbol of SYMBOLS[length] ?? "") codes.set(2 ** length + code++, symbol);
    code *= 2;
  }
  return codes;
}

function unhuffman(bytes: Buffer): string {
  let text = "";
  let code = 1;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      const symbol = HUFFMAN.get(code);
      if (symbol !== undefined) {
        text += symbol;
        code = 1;
      }
    }
  }
  return text;
}

const STATIC: readonly Header[] = `
:authority;:method GET;:method POST;:path /;:path /index.html;:scheme http;:scheme https;:status 200;:status 204
:status 206;:status 304;:status 400;:status 404;:status 500;accept-charset;accept-encoding gzip, deflate
accept-language;accept-ranges;accept;access-control-allow-origin;age;allow;authorization;cache-control
content-disposition;content-encoding;content-language;content-length;content-location;content-range;content-type
cookie;date;etag;expect;expires;from;host;if-match;if-modified-since;if-none-match;if-range;if-unmodified-since
last-modified;link;location;max-forwards;proxy-authenticate;proxy-authorization;range;referer;refresh;retry-after
server;set-cookie;strict-transport-security;transfer-encoding;user-agent;vary;via;www-authenticate`
  .trim()
  .split(/[;\n]/)
  .map((entry) => {
    const space = entry.indexOf(" ");
    return space < 0 ? [entry, ""] : [entry.slice(0, space), entry.slice(space + 1)];
  });
