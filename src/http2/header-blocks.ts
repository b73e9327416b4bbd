import type { AbuseBudget } from "./abuse.ts";
import { ConnectionError } from "./errors.ts";
import type { ReceivedFrame } from "./frame-reader.ts";
import {
  COMPRESSION_ERROR,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  FRAME_SIZE_ERROR,
  HAS_PRIORITY,
  MAX_FRAME_BYTES,
  PADDED,
  PROTOCOL_ERROR,
  readUint31,
} from "./frames.ts";
import { type DecodedBlock, HpackDecoder } from "./hpack/decoder.ts";
import { HpackError } from "./hpack/error.ts";

/** SETTINGS_HEADER_TABLE_SIZE is not changed by this side. */
const TABLE_BYTES = 4096;

/** A priority: the stream that it depends on (4 bytes), and a weight. */
const PRIORITY_BYTES = 5;

/** How much longer than the largest header list a block may be, before it is known how large its list is. */
const BLOCK_FACTOR = 4;

/** How many CONTINUATIONs a block may have beyond those that it needs if they are full. */
const SPARE_CONTINUATIONS = 8;

/** The header block of a stream. */
export interface ReceivedHeaders {
  readonly stream: number;
  readonly endStream: boolean;
  readonly block: DecodedBlock;
}

/** A block whose end has not come. */
interface OpenBlock {
  readonly stream: number;
  readonly endStream: boolean;
  readonly parts: Uint8Array[];
  bytes: number;
}

/** Puts header blocks together, and decodes them. */
export class HeaderBlocks {
  readonly #decoder: HpackDecoder;
  readonly #budget: AbuseBudget;
  readonly #maxBlockBytes: number;
  #open: OpenBlock | undefined;

  constructor(maxListBytes: number, budget: AbuseBudget) {
    this.#decoder = new HpackDecoder({ tableBytes: TABLE_BYTES, maxListBytes });
    this.#budget = budget;
    this.#maxBlockBytes = Math.max(maxListBytes, MAX_FRAME_BYTES) * BLOCK_FACTOR;
  }

  /** The stream whose header block must be continued next (RFC 9113, 4.3); undefined if no block is open. */
  get openStream(): number | undefined {
    return this.#open?.stream;
  }

  /** Takes HEADERS. Returns the headers, unless CONTINUATION follows. */
  begin(frame: ReceivedFrame): ReceivedHeaders | undefined {
    const { stream, bytes, flags } = frame;
    const { start, end } = fragmentOf(frame);
    const endStream = (flags & END_STREAM) !== 0;
    if ((flags & END_HEADERS) !== 0) return this.#decode({ stream, endStream, bytes, start, end });
    const parts = [bytes.slice(start, end)];
    this.#open = { stream, endStream, parts, bytes: end - start };
    return undefined;
  }

  /** Takes CONTINUATION. Returns the headers if it was the last one. */
  continue({ flags, bytes, start, end }: ReceivedFrame): ReceivedHeaders | undefined {
    const open = this.#open;
    if (open === undefined) {
      throw new ConnectionError(PROTOCOL_ERROR, "CONTINUATION without a header block to continue");
    }
    if (open.parts.length > 1) this.#budget.spend("too_many_continuations");
    open.parts.push(bytes.slice(start, end));
    open.bytes += end - start;
    this.#checkSize(open);
    if ((flags & END_HEADERS) === 0) return undefined;
    this.#open = undefined;
    const block = joined(open);
    const { stream, endStream } = open;
    return this.#decode({ stream, endStream, bytes: block, start: 0, end: block.length });
  }

  #checkSize({ bytes, parts }: OpenBlock): void {
    const most = this.#maxBlockBytes;
    const mostFrames = Math.ceil(most / MAX_FRAME_BYTES) + SPARE_CONTINUATIONS;
    if (bytes <= most && parts.length <= mostFrames) return;
    this.#open = undefined;
    const size = `${bytes} bytes in ${parts.length} frames`;
    throw new ConnectionError(
      ENHANCE_YOUR_CALM,
      `a header block of ${size}, and no end: ${most} bytes in ${mostFrames} frames are allowed`,
      "too_many_continuations",
    );
  }

  #decode(block: {
    readonly stream: number;
    readonly endStream: boolean;
    readonly bytes: Uint8Array;
    readonly start: number;
    readonly end: number;
  }): ReceivedHeaders {
    const { stream, endStream, bytes, start, end } = block;
    try {
      const decoded = this.#decoder.decode(bytes, start, end);
      this.#budget.spendOnList(decoded.listBytes, end - start);
      return { stream, endStream, block: decoded };
    } catch (error) {
      if (error instanceof HpackError) throw new ConnectionError(COMPRESSION_ERROR, error.message);
      throw error;
    }
  }
}

/** Where the fragment of HEADERS stands, without padding and priority (RFC 9113, 6.2). */
function fragmentOf(frame: ReceivedFrame): { readonly start: number; readonly end: number } {
  const { flags, bytes } = frame;
  let { start, end } = frame;
  let padding = 0;
  if ((flags & PADDED) !== 0) {
    if (start === end) throw tooShort();
    padding = bytes[start++] as number;
  }
  if ((flags & HAS_PRIORITY) !== 0) {
    if (end - start < PRIORITY_BYTES) throw tooShort();
    checkDependency(bytes, start, frame.stream);
    start += PRIORITY_BYTES;
  }
  end -= padding;
  if (end >= start) return { start, end };
  throw new ConnectionError(PROTOCOL_ERROR, "HEADERS with padding that is longer than the frame");
}

/**
 * Throws if a priority names its own stream (RFC 7540, 5.3.1); else priorities are ignored (RFC 9113, 5.3.2). The RFC
 * asks for a stream error. This is a connection error, because the stream may not exist, and no correct peer sends it.
 */
export function checkDependency(bytes: Uint8Array, at: number, stream: number): void {
  if (readUint31(bytes, at) !== stream) return;
  throw new ConnectionError(PROTOCOL_ERROR, "a stream depends on itself");
}

function tooShort(): ConnectionError {
  return new ConnectionError(
    FRAME_SIZE_ERROR,
    "HEADERS that are too short for their padding or priority",
  );
}

function joined({ parts, bytes }: OpenBlock): Uint8Array {
  const block = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    block.set(part, at);
    at += part.length;
  }
  return block;
}
