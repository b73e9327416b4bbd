/** The examples of RFC 7541, appendix C. The encoder makes those octets too where its choices are those of the example. */
import { describe, expect, test } from "vitest";
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { decoderWith, octetsOf } from "./hpack-octets.ts";

/** One example after the other, with the same tables. */
interface Example {
  readonly name: string;
  readonly hex: string;
  readonly fields: readonly string[];
}

const requests = [
  [...[":method", "GET", ":scheme", "http", ":path", "/"], ":authority", "www.example.com"],
  [
    ...[":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com"],
    ...["cache-control", "no-cache"],
  ],
  [
    ...[":method", "GET", ":scheme", "https", ":path", "/index.html"],
    ...[":authority", "www.example.com", "custom-key", "custom-value"],
  ],
] as const;

const location = ["location", "https://www.example.com"];
const responses = [
  [
    ...[":status", "302", "cache-control", "private"],
    ...["date", "Mon, 21 Oct 2013 20:13:21 GMT", ...location],
  ],
  [
    ...[":status", "307", "cache-control", "private"],
    ...["date", "Mon, 21 Oct 2013 20:13:21 GMT", ...location],
  ],
  [
    ...[":status", "200", "cache-control", "private"],
    ...["date", "Mon, 21 Oct 2013 20:13:22 GMT", ...location, "content-encoding", "gzip"],
    ...["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
  ],
] as const;

const plainRequests = [
  "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
  "8286 84be 5808 6e6f 2d63 6163 6865",
  "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
];
const codedRequests = [
  "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
  "8286 84be 5886 a8eb 1064 9cbf",
  "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
];
const plainResponses = [
  `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
   3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
  "4803 3330 37c1 c0bf",
  `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
   7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
   6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
];
const codedResponses = [
  `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
   1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
  "4883 640e ffc1 c0bf",
  `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
   e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
];

function examplesOf(
  section: string,
  hex: readonly string[],
  lists: readonly (readonly string[])[],
): Example[] {
  return hex.map((octets, at) => ({
    name: `${section}.${at + 1}`,
    hex: octets,
    fields: lists[at] as readonly string[],
  }));
}

describe.each([
  { section: "C.3", tableBytes: 4096, hex: plainRequests, lists: requests },
  { section: "C.4", tableBytes: 4096, hex: codedRequests, lists: requests },
  { section: "C.5", tableBytes: 256, hex: plainResponses, lists: responses },
  { section: "C.6", tableBytes: 256, hex: codedResponses, lists: responses },
])("$section, with a table of $tableBytes bytes", ({ section, tableBytes, hex, lists }) => {
  const { decode } = decoderWith({ tableBytes });
  test.each(examplesOf(section, hex, lists))("$name is decoded", (example) => {
    expect(decode(octetsOf(example.hex)).fields).toEqual(example.fields);
  });
});

describe("C.4, encoded", () => {
  const encoder = new HpackEncoder();
  test.each(examplesOf("C.4", codedRequests, requests))("$name", ({ hex, fields }) => {
    expect(encoder.encode(fields)).toEqual(octetsOf(hex));
  });
});

test.each([
  { name: "C.2.1", hex: "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572" },
  { name: "C.2.2", hex: "040c 2f73 616d 706c 652f 7061 7468" },
  { name: "C.2.3", hex: "1008 7061 7373 776f 7264 0673 6563 7265 74" },
  { name: "C.2.4", hex: "82" },
])("$name, a field in each representation, is decoded", ({ name, hex }) => {
  const fields = {
    "C.2.1": ["custom-key", "custom-header"],
    "C.2.2": [":path", "/sample/path"],
    "C.2.3": ["password", "secret"],
    "C.2.4": [":method", "GET"],
  }[name];
  expect(decoderWith().decode(octetsOf(hex)).fields).toEqual(fields);
});

test.each([
  { section: "C.1.1", bytes: 10, hex: "2a" },
  { section: "C.1.2", bytes: 1337, hex: "3f 9a 0a" },
])(
  "$section, the integer $bytes with a prefix of 5 bits, is the same in a size update",
  (example) => {
    const encoder = new HpackEncoder();
    encoder.setPeerTableBytes(example.bytes);
    const octets = octetsOf(example.hex);
    expect(encoder.encode([])).toEqual(octets);
    expect(decoderWith({ tableBytes: example.bytes }).decode(octets).fields).toEqual([]);
    const { decode } = decoderWith({ tableBytes: example.bytes - 1 });
    expect(() => decode(octets)).toThrow(`to ${example.bytes} is over`);
  },
);
