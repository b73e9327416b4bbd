/** The headers of a session, its controls, and the error of its loss. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Control, ControlSchema, MetadataSchema } from "../gen/hawser/v1/session_pb.js";
import { Code, ConnectError } from "../src/index.ts";
import {
  CONTROL,
  CONTROL_FRAMES,
  endControl,
  headerControl,
  readControl,
  receivedControl,
} from "../src/session/control.ts";
import {
  type Ask,
  readAnswer,
  readAsk,
  readSent,
  writeAnswer,
  writeAsk,
} from "../src/session/headers.ts";
import { Reason, readSessionLost, sessionLost } from "../src/session/lost.ts";

const MOST = Number.MAX_SAFE_INTEGER;

describe("headers", () => {
  const count = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constant(MOST));
  const positive = fc.oneof(fc.integer({ min: 1 }), fc.constant(MOST));
  const id = fc.stringMatching(/^[0-9a-f]{32}$/);
  const window = fc.record({
    bytes: fc.integer({ min: 1, max: 999_999_999_999_999 }),
    messages: fc.integer({ min: 1, max: 999_999_999_999_999 }),
  });

  test("headers of an attachment are read as they were written", () => {
    const ask: fc.Arbitrary<Ask> = fc.record({
      session: id,
      attach: positive,
      received: count,
      window,
      epoch: id,
      openedMs: fc.option(count, { nil: undefined }),
      cancel: fc.boolean(),
    });
    fc.assert(
      fc.property(ask, (ask) => {
        expect(readAsk(writeAsk(ask))).toEqual(ask);
      }),
    );
  });

  test("headers of an answer are read as they were written", () => {
    const answer = fc.record({
      resumed: fc.boolean(),
      epoch: id,
      received: count,
      window,
      metadata: fc.boolean(),
    });
    fc.assert(
      fc.property(answer, (answer) => {
        expect(readAnswer(writeAnswer(answer))).toEqual(answer);
      }),
    );
  });

  test("a time in a header is rounded down to whole milliseconds", () => {
    const [ask] = fc.sample(fc.record({ session: id, epoch: id, window }), 1);
    const written = writeAsk({
      ...(ask as Ask),
      attach: 1,
      received: 0,
      openedMs: 1234.9,
      cancel: false,
    });
    expect(written["hawser-opened"]).toBe("1234");
  });

  const good = {
    "hawser-session": "0".repeat(32),
    "hawser-attach": "1",
    "hawser-received": "0",
    "hawser-window": "10,1",
    "hawser-epoch": "f".repeat(32),
  };
  const answer = { ...good, "hawser-session": "new", "hawser-metadata": "later" };
  const bad: [string, string | string[] | undefined][] = [
    ["hawser-session", undefined],
    ["hawser-session", ""],
    ["hawser-session", "0".repeat(31)],
    ["hawser-session", "0".repeat(33)],
    ["hawser-session", "F".repeat(32)],
    ["hawser-session", `${"0".repeat(31)}\n`],
    ["hawser-session", [good["hawser-session"], good["hawser-session"]]],
    ["hawser-attach", undefined],
    ["hawser-attach", "0"],
    ["hawser-attach", "-1"],
    ["hawser-attach", "+1"],
    ["hawser-attach", "1.0"],
    ["hawser-attach", "1e3"],
    ["hawser-attach", " 1"],
    ["hawser-attach", "0x1"],
    ["hawser-attach", "9007199254740992"],
    ["hawser-attach", "18446744073709551615"],
    ["hawser-attach", ["1", "2"]],
    ["hawser-received", undefined],
    ["hawser-received", "-1"],
    ["hawser-received", "9007199254740992"],
    ["hawser-received", "18446744073709551615"],
    ["hawser-window", undefined],
    ["hawser-window", ""],
    ["hawser-window", "10"],
    ["hawser-window", "10,"],
    ["hawser-window", "10,1,1"],
    ["hawser-window", "0,1"],
    ["hawser-window", "1,0"],
    ["hawser-window", "-1,1"],
    ["hawser-window", "1000000000000000,1"],
    ["hawser-epoch", undefined],
    ["hawser-epoch", "f"],
    ["hawser-opened", "-1"],
    ["hawser-opened", "soon"],
    ["hawser-opened", "9007199254740992"],
    ["hawser-cancel", "0"],
    ["hawser-cancel", "yes"],
  ];

  test.each(bad)(
    "headers of an attachment with %s of %j are refused, and the error names the header",
    (name, value) => {
      expect(() => readAsk({ ...good, [name]: value })).toThrow(
        expect.objectContaining({
          code: Code.InvalidArgument,
          rawMessage: expect.stringContaining(name),
        }),
      );
    },
  );

  const ofAnswers = bad.filter(
    ([name]) => name !== "hawser-attach" && name !== "hawser-opened" && name !== "hawser-cancel",
  );
  test.each(ofAnswers.filter(([name, value]) => name !== "hawser-session" || value !== undefined))(
    "headers of an answer with %s of %j are refused, and the error names the header",
    (name, value) => {
      expect(() => readAnswer({ ...answer, [name]: value })).toThrow(
        expect.objectContaining({
          code: Code.InvalidArgument,
          rawMessage: expect.stringContaining(name),
        }),
      );
    },
  );

  test("headers without hawser-session are not the answer of a session", () => {
    expect(readAnswer({})).toBeUndefined();
    expect(readAnswer({ "hawser-epoch": "nonsense" })).toBeUndefined();
  });

  test("the trailers of a session contain the count of messages sent", () => {
    expect(readSent({})).toBeUndefined();
    expect(readSent({ "hawser-sent": "0" })).toBe(0);
    expect(readSent({ "hawser-sent": String(MOST) })).toBe(MOST);
    for (const value of ["", "-1", "9007199254740992", "many"]) {
      expect(() => readSent({ "hawser-sent": value })).toThrow(ConnectError);
    }
  });

  test("a long header is shortened in the error", () => {
    const value = "1".repeat(10_000);
    expect(() => readAsk({ ...good, "hawser-attach": value })).toThrow(/^.{0,300}$/s);
  });
});

describe("controls", () => {
  const frame = (bytes: Uint8Array, flags = CONTROL) => ({
    flags,
    bytes,
    start: 0,
    end: bytes.length,
  });
  /** A count of each size that a varint can have. */
  const counts = Array.from({ length: 54 }, (_, bits) => [2 ** bits - 1, 2 ** bits])
    .flat()
    .filter((count) => count <= MOST);

  test("controls have counts of any size, as protobuf writes them", () => {
    const count = fc.oneof(fc.constantFrom(...counts), fc.maxSafeNat());
    fc.assert(
      fc.property(count, (count) => {
        for (const [name, bytes] of [
          ["received", receivedControl(count)],
          ["end", endControl(count)],
        ] as const) {
          const said = { case: name, value: BigInt(count) };
          expect(fromBinary(ControlSchema, bytes).kind).toEqual(said);
          expect(readControl(frame(bytes))).toEqual(said);
        }
      }),
      { examples: counts.map((count) => [count]) },
    );
  });

  test("controls are read from the middle of a buffer", () => {
    const bytes = Uint8Array.of(9, 9, ...receivedControl(300), 9);
    const { length } = receivedControl(300);
    expect(readControl({ flags: CONTROL, bytes, start: 2, end: 2 + length })).toEqual({
      case: "received",
      value: 300n,
    });
  });

  test("controls keep headers in order", () => {
    const entries = [
      { name: "x-one", value: "1" },
      { name: "x-two", value: "" },
      { name: "x-one", value: "ü" },
    ];
    for (const some of [entries, []]) {
      const bytes = headerControl(create(MetadataSchema, { entries: some }));
      const kind = readControl(frame(bytes)) as Extract<Control["kind"], { case: "header" }>;
      expect(kind.case).toBe("header");
      expect(kind.value.entries.map(({ name, value }) => ({ name, value }))).toEqual(some);
    }
  });

  test.each([
    ["nothing", "", { case: undefined }],
    ["a count past 2^53 - 1", "088080808080808010", undefined],
    ["a count of 2^64 - 1", "08ffffffffffffffffff01", undefined],
    ["a varint that does not end", "08ffffffffffffffffffffff", undefined],
    ["a varint that is cut off", "0880", undefined],
    ["a length past the end", "1a7f", undefined],
    ["no protobuf", "ff", undefined],
  ])("a control with %s is read as protobuf reads it, or refused", (_, hex, kind) => {
    expect(readControl(frame(Buffer.from(hex, "hex")))).toEqual(kind);
  });

  test("controls whose numbers take more bytes than needed have the same value", () => {
    // A varint may have zeros at its end, and a field may come twice: the final one counts.
    for (const [hex, value] of [
      ["08810000", undefined],
      ["088100", 1n],
      ["0881808000", 1n],
      ["08010802", 2n],
      ["10010803", 3n],
    ] as const) {
      const kind = readControl(frame(Buffer.from(hex, "hex")));
      if (value !== undefined) expect(kind).toEqual({ case: "received", value });
    }
  });

  test("our reader of controls and protobuf's give the same result, whatever the bytes", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc.uint8Array({ maxLength: 10 }).map((rest) => Uint8Array.of(8, ...rest)),
    );
    fc.assert(
      fc.property(bytes, (bytes) => {
        const kind = readControl(frame(bytes));
        let theirs: Control["kind"] | undefined;
        try {
          theirs = fromBinary(ControlSchema, bytes).kind;
        } catch {}
        const counts = theirs?.case === "received" || theirs?.case === "end";
        if (counts && (theirs?.value as bigint) > BigInt(MOST)) theirs = undefined;
        expect(kind).toEqual(theirs);
      }),
      { numRuns: 2000 },
    );
  });

  test("controls are refused if they are compressed or over 65 536 bytes", () => {
    const bytes = receivedControl(1);
    for (const flags of [CONTROL | 1, CONTROL | 2, CONTROL | 0x80]) {
      expect(readControl(frame(bytes, flags))).toBeUndefined();
    }
    const value = "x".repeat(CONTROL_FRAMES.maxBytes);
    const long = headerControl(create(MetadataSchema, { entries: [{ name: "x", value }] }));
    expect(long.length).toBeGreaterThan(CONTROL_FRAMES.maxBytes);
    expect(readControl(frame(long))).toBeUndefined();
  });

  test("controls of later versions, with unknown fields, are read", () => {
    const unknown = Uint8Array.of(0x32, 0x01, 0x61);
    expect(readControl(frame(unknown))).toEqual({ case: undefined });
    expect(toBinary(ControlSchema, fromBinary(ControlSchema, unknown))).toEqual(unknown);
  });
});

describe("the error of a lost session", () => {
  const reasons = Object.values(Reason).filter((reason) => typeof reason === "number");

  test.each(reasons)(
    "the error of a lost session has the reason and the count of messages that arrived: reason %i",
    (reason) => {
      const error = sessionLost(reason, 3);
      expect(readSessionLost(error)).toMatchObject({ reason, arrived: 3n });
      expect(error.code).toBe(
        reason === Reason.PROTOCOL_ERROR ? Code.InvalidArgument : Code.Aborted,
      );
      expect(error.rawMessage).toMatch(/3 messages are known to have arrived/);
    },
  );

  test("the reason of a lost session is not found in other errors", () => {
    expect(readSessionLost(new ConnectError("no", Code.Aborted))).toBeUndefined();
    expect(readSessionLost(new Error("no"))).toBeUndefined();
    expect(readSessionLost("ok")).toBeUndefined();
    expect(readSessionLost(undefined)).toBeUndefined();
  });

  test('the error says "1 message" for a count of 1', () => {
    expect(sessionLost(Reason.GAP, 1).rawMessage).toMatch(/1 message is known/);
    expect(readSessionLost(sessionLost(Reason.GAP, MOST))?.arrived).toBe(BigInt(MOST));
  });
});
