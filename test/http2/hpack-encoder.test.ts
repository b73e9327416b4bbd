/** What the encoder puts into the peer's table, and what it writes (RFC 7541, 6 and 7.1). */
import { describe, expect, test } from "vitest";
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { indexed, integer, sizeUpdate } from "./hpack-octets.ts";
import { PeerDecoder } from "./hpack-peer.ts";

const NEWEST = 62;

/** An encoder, and a decoder that gets all its blocks. */
function pair({
  tableBytes = 4096,
  ...options
}: {
  tableBytes?: number;
  maxTableBytes?: number;
} = {}) {
  const encoder = new HpackEncoder(options);
  const decoder = new PeerDecoder();
  const setTableBytes = (bytes: number) => {
    encoder.setPeerTableBytes(bytes);
    decoder.setTableBytes(bytes);
  };
  if (tableBytes !== 4096) setTableBytes(tableBytes);
  const send = (...fields: string[]) => {
    const block = encoder.encode(fields).slice();
    expect(decoder.decode(block).fields).toEqual(fields);
    return Array.from(block);
  };
  return { encoder, decoder, send, setTableBytes };
}

/** Whether a field of this block enters the table. */
const enters = (block: readonly number[]) => ((block[0] as number) & 0xc0) === 0x40;
const isNeverIndexed = (block: readonly number[]) => ((block[0] as number) & 0xf0) === 0x10;

const grpcRequest = [
  ...[":method", "POST", ":scheme", "http", ":path", "/example.Greeter/SayHello"],
  ...[":authority", "127.0.0.1:50051", "te", "trailers", "content-type", "application/grpc"],
  ...["user-agent", "hawser/0.1.0"],
];

describe("a list that comes again", () => {
  test("has an octet a field", () => {
    const { send } = pair();
    send(...grpcRequest);
    expect(send(...grpcRequest).length).toBe(grpcRequest.length / 2);
  });

  test("is the same block each time, so that the peer can keep what it decoded", () => {
    const { encoder, decoder, send } = pair();
    const withTimeout = (ms: number) => [...grpcRequest, "grpc-timeout", `${ms}m`];
    for (let ms = 1000; ms < 1100; ms++) send(...withTimeout(ms));
    const block = send(...grpcRequest);
    for (let ms = 1100; ms < 1200; ms++) send(...withTimeout(ms));
    expect(send(...grpcRequest)).toEqual(block);
    const one = decoder.decode(encoder.encode(grpcRequest));
    expect(decoder.decode(encoder.encode(grpcRequest))).toBe(one);
  });

  test("is the same block in another order of its fields, or with fields between", () => {
    const { send } = pair();
    send("a", "1", "b", "2", "c", "3");
    expect(send("c", "3", "a", "1", "b", "2")).toEqual([62, 64, 63].flatMap(indexed));
    expect(send("b", "2")).toEqual(indexed(63));
  });
});

describe("fixed fields", () => {
  test("have an octet a field from the second block on, before others that change", () => {
    const { encoder, decoder } = pair();
    const lengths = [1, 2, 3].map((ms) => {
      const more = ["grpc-timeout", `${ms}m`];
      const block = encoder.encode(more, grpcRequest).slice();
      expect(decoder.decode(block).fields).toEqual([...grpcRequest, ...more]);
      return block.length;
    });
    expect(lengths[1]).toBe(lengths[2]);
    expect(encoder.encode([], grpcRequest).length).toBe(grpcRequest.length / 2);
  });

  test("are right after the table has changed", () => {
    const { encoder, decoder, send, setTableBytes } = pair();
    const check = () => {
      for (let n = 0; n < 3; n++) {
        expect(decoder.decode(encoder.encode([], grpcRequest)).fields).toEqual(grpcRequest);
      }
    };
    check();
    send("x-new", "entry");
    check();
    setTableBytes(0);
    check();
    setTableBytes(4096);
    check();
  });

  test("enter the table as other fields do: another value of a name when it comes for the second time", () => {
    const { encoder, decoder } = pair();
    const fixed = [
      [":path", "/a"],
      [":path", "/b"],
    ];
    const lengths = [0, 1, 2, 3].flatMap(() =>
      fixed.map((fields) => {
        const block = encoder.encode([], fields).slice();
        expect(decoder.decode(block).fields).toEqual(fields);
        return block.length;
      }),
    );
    expect(lengths.slice(-4)).toEqual([1, 1, 1, 1]);
  });
});

test.each([
  [":method", "GET", 2],
  [":method", "POST", 3],
  [":path", "/index.html", 5],
  [":status", "200", 8],
  [":status", "500", 14],
  ["accept-encoding", "gzip, deflate", 16],
  ["accept-charset", "", 15],
  ["www-authenticate", "", 61],
])("%s with the value %j is an index of the static table", (name, value, index) => {
  for (const maxTableBytes of [0, 4096]) {
    expect(pair({ maxTableBytes }).send(name, value)).toEqual(indexed(index));
  }
});

describe("the table takes", () => {
  test("the first value of a name at once", () => {
    const { send } = pair();
    expect(enters(send(":authority", "a"))).toBe(true);
    expect(enters(send("custom", "a"))).toBe(true);
    expect(send("custom", "a")).toEqual(indexed(NEWEST));
    expect(send(":authority", "a")).toEqual(indexed(NEWEST + 1));
  });

  test("other values of a name when they come for the second time", () => {
    const { send } = pair();
    send(":path", "/a");
    expect(enters(send(":path", "/b"))).toBe(false);
    expect(enters(send(":path", "/c"))).toBe(false);
    expect(enters(send(":path", "/b"))).toBe(true);
    expect(send(":path", "/b")).toEqual(indexed(NEWEST));
    expect(send(":path", "/a")).toEqual(indexed(NEWEST + 1));
  });

  test("no values that never come again, however many there are", () => {
    const { send } = pair();
    send(...grpcRequest, "x-request-id", "first");
    const { length } = send(...grpcRequest, "x-request-id", "12345678");
    for (let id = 10_000_000; id < 10_001_000; id++) {
      // The name has an index.
      expect(send(...grpcRequest, "x-request-id", `${id}`).length).toBeLessThanOrEqual(length + 1);
    }
  });

  test.each(["grpc-timeout", "grpc-message", "grpc-status-details-bin"])(
    "one value of %s, for the sake of its name",
    (name) => {
      const { send } = pair();
      expect(enters(send(name, "1"))).toBe(true);
      for (let round = 0; round < 3; round++) {
        expect(send(name, "2")).toEqual([...integer(0, 4, NEWEST), 1, "2".charCodeAt(0)]);
      }
      expect(send(name, "1")).toEqual(indexed(NEWEST));
    },
  );

  test.each(["content-length", "date", "etag", "age", "last-modified"])(
    "no value of %s, whose name the static table has",
    (name) => {
      const { send } = pair();
      for (let round = 0; round < 3; round++) expect(send(name, "1")[0]).toBeLessThan(0x10);
    },
  );

  test("no field that is larger than half of it", () => {
    const { send } = pair();
    const fitting = "v".repeat(2048 - 32 - 1);
    for (let round = 0; round < 3; round++) expect(enters(send("a", `${fitting}v`))).toBe(false);
    expect(enters(send("a", fitting))).toBe(true);
  });
});

describe("a secret", () => {
  const names = [
    ...["authorization", "proxy-authorization", "cookie", "set-cookie"],
    ...["password", "x-api-key", "x-auth-token", "token-bin", "app-credentials"],
  ];

  test.each(names)("of fewer than 32 characters is never indexed, in no table: %s", (name) => {
    const { send } = pair();
    for (let round = 0; round < 3; round++) {
      expect(isNeverIndexed(send(name, "s".repeat(31)))).toBe(true);
      expect(isNeverIndexed(send(name, `pin=${round}`))).toBe(true);
    }
  });

  test.each(["authorization", "proxy-authorization"])(
    "of HTTP's Basic is never indexed, since the password in it may be short: %s",
    (name) => {
      const { send } = pair();
      for (const value of [`Basic ${"dXNlcjpwYXNz".repeat(10)}`, `basic ${"A".repeat(100)}`]) {
        for (let round = 0; round < 3; round++)
          expect(isNeverIndexed(send(name, value))).toBe(true);
      }
    },
  );

  test.each(names)(
    "of 32 characters or more, a token, costs an octet when it comes again: %s",
    (name) => {
      const { send } = pair();
      const token = `Bearer ${"x".repeat(700)}`;
      send(name, token);
      expect(send(name, token)).toEqual(indexed(NEWEST));
    },
  );

  test.each([":authority", "www-authenticate", "author", "tokenizer", "keys"])(
    "is not in a field with a similar name: %s",
    (name) => {
      const { send } = pair();
      expect(enters(send(name, "short"))).toBe(true);
    },
  );

  test("has the octets of RFC 7541, C.2.3, but for its Huffman code", () => {
    const { send } = pair();
    const [pattern, ...strings] = send("password", "secret");
    expect(pattern).toBe(0x10);
    // Both strings are shorter in the Huffman code.
    expect([strings[0], strings[7]]).toEqual([0x86, 0x84]);
  });

  test("is never indexed without a dynamic table either, for the sake of proxies", () => {
    expect(isNeverIndexed(pair({ maxTableBytes: 0 }).send("authorization", "short"))).toBe(true);
  });
});

describe("a full table", () => {
  /** Sends fields that each are worth an entry of 64 bytes, until the table is full. */
  function fill(send: (...fields: string[]) => number[]) {
    for (let at = 100; at < 164; at++) send(`n${at}`, "v".repeat(28));
  }

  test("keeps its entries, and new fields do not enter it", () => {
    const { send } = pair();
    fill(send);
    expect(enters(send("other", "v"))).toBe(false);
    expect(send("n100", "v".repeat(28))).toEqual(indexed(NEWEST + 63));
    expect(send("n163", "v".repeat(28))).toEqual(indexed(NEWEST));
  });

  test("begins anew when the fields that found it full are 16 times its size", () => {
    const { send } = pair();
    fill(send);
    // 1,024 fields of 64 bytes are 16 tables.
    let sent = 0;
    while (!enters(send(`other${1000 + (sent % 100)}`, "v".repeat(23)))) sent++;
    expect(sent).toBe(1023);
    // The peer still has most of the old entries: the encoder does not use them.
    expect(enters(send("n163", "v".repeat(28)))).toBe(true);
    expect(send("n163", "v".repeat(28))).toEqual(indexed(NEWEST));
  });

  test("that begins anew may give a field the name of an entry that it forgets", () => {
    const { send } = pair({ tableBytes: 256 });
    send("name", "v".repeat(60));
    send("a", "v".repeat(95));
    let entered = 0;
    for (let at = 0; at < 200; at++) {
      if (enters(send("name", `${at >> 1}`.padStart(60, "x")))) entered++;
      if (enters(send("name", `${at >> 1}`.padStart(60, "x")))) entered++;
    }
    expect(entered).toBeGreaterThan(2);
  });

  test("costs at most a sixteenth more than one that never begins anew, where that is of no use", () => {
    const { send } = pair();
    const paths = Array.from({ length: 300 }, (_, at) => `/package.Service/Method${at}`);
    let inserted = 0;
    let calls = 0;
    for (let round = 0; round < 20; round++) {
      for (const path of paths.flatMap((one) => [one, one])) {
        calls++;
        if (enters(send(":path", path))) inserted++;
      }
    }
    // The table has 4,096 bytes for 70 of them, and began anew more than once.
    expect(inserted).toBeGreaterThan(2 * 70);
    expect(inserted).toBeLessThan(calls / 16);
  });
});

describe("without a dynamic table", () => {
  test("all fields are literals or in the static table, and each block stands alone", () => {
    const { send, encoder } = pair({ maxTableBytes: 0 });
    const block = send(...grpcRequest);
    for (let round = 0; round < 3; round++) expect(send(...grpcRequest)).toEqual(block);
    const other = new HpackDecoder({ tableBytes: 0, maxListBytes: 10_000 });
    const octets = encoder.encode(grpcRequest);
    expect(other.decode(octets, 0, octets.length).fields).toEqual(grpcRequest);
  });
});

describe("the size of the peer's table", () => {
  test.each([
    { name: "a reduction", peer: [100], updates: [100] },
    { name: "a reduction to 0", peer: [0], updates: [0] },
    { name: "a reduction and a raise", peer: [100, 2000], updates: [100, 2000] },
    { name: "a reduction and a raise above our limit", peer: [0, 100_000], updates: [0, 4096] },
    { name: "reductions", peer: [1000, 10, 500], updates: [10, 500] },
    { name: "a raise above our limit", peer: [100_000], updates: [] },
    { name: "a raise and a return", peer: [100_000, 4096], updates: [] },
    { name: "a raise up to our limit", peer: [8192], maxTableBytes: 8192, updates: [8192] },
    {
      name: "a raise, with a limit above it",
      peer: [8192],
      maxTableBytes: 10_000,
      updates: [8192],
    },
    { name: "a raise, with no dynamic table", peer: [8192], maxTableBytes: 0, updates: [] },
    { name: "a reduction, with no dynamic table", peer: [64], maxTableBytes: 0, updates: [0] },
    { name: "a reduction above our limit", peer: [2000], maxTableBytes: 1000, updates: [1000] },
  ])("$name is followed by the updates $updates", ({ peer, updates, ...options }) => {
    const { send, setTableBytes } = pair(options);
    for (const bytes of peer) setTableBytes(bytes);
    expect(send(":method", "GET")).toEqual([...updates.flatMap(sizeUpdate), 0x82]);
    expect(send(":method", "GET")).toEqual([0x82]);
  });

  test("that is smaller empties the table, one that is larger keeps it", () => {
    const { send, setTableBytes } = pair({ maxTableBytes: 8192 });
    send("a", "b");
    setTableBytes(8192);
    expect(send("a", "b")).toEqual([...sizeUpdate(8192), ...indexed(NEWEST)]);
    setTableBytes(4096);
    expect(enters(send("a", "b").slice(sizeUpdate(4096).length))).toBe(true);
    expect(send("a", "b")).toEqual(indexed(NEWEST));
  });

  test("is used up to our limit", () => {
    const { send, setTableBytes } = pair({ maxTableBytes: 65_536 });
    setTableBytes(65_536);
    for (let at = 0; at < 1000; at++) send(`n${at}`, "v".repeat(20));
    expect(send("n0", "v".repeat(20))).toEqual(indexed(NEWEST + 999));
  });
});

describe("a character that is not a byte", () => {
  test.each([
    ["a value", ["name", "\u010a"]],
    ["a name", ["n\u0141me", "value"]],
    ["a long value", ["name", `${"v".repeat(1000)}\u{1f600}`]],
    ["the value of a secret", ["authorization", "Bearer \u0100"]],
  ])("in %s is an error", (_, fields) => {
    const { encoder } = pair();
    expect(() => encoder.encode(fields)).toThrow(RangeError);
    expect(() => encoder.encode(fields)).toThrow("has a character above U+00FF");
  });

  test("leaves an encoder that may be used again", () => {
    const { encoder, send, setTableBytes } = pair();
    send("a", "1", "b", "2");
    setTableBytes(2048);
    expect(() => encoder.encode(["c", "3", "a", "1", "d", "\u0100"])).toThrow(RangeError);
    const block = send("a", "1", "c", "3", "d", "4");
    expect(block.slice(0, 3)).toEqual(sizeUpdate(2048));
    expect(send("d", "4", "c", "3", "a", "1")).toEqual([62, 63, 64].flatMap(indexed));
  });
});

describe("the block", () => {
  test("is a view of a buffer that the next call uses again", () => {
    const { encoder } = pair();
    const one = encoder.encode([":method", "GET"]);
    const other = encoder.encode([":method", "POST"]);
    expect(one.buffer).toBe(other.buffer);
    expect(Array.from(other)).toEqual([0x83]);
  });

  test("may have any length, and the buffer of a long one is not kept", () => {
    const { encoder, send } = pair();
    for (const length of [100, 200, 300, 5000, 100_000]) send("name", "\xff".repeat(length));
    expect(encoder.encode([":method", "GET"]).buffer.byteLength).toBeLessThanOrEqual(4096);
    send(...Array.from({ length: 10_000 }, () => "x"));
  });

  test("of no fields has no octets", () => {
    expect(pair().send()).toEqual([]);
  });
});
