import { expect, test } from "vitest";
import { toFields, toHeaderList } from "../src/connection/fields.ts";

test.each<[what: string, fields: string[], headers: Record<string, unknown>]>([
  [
    "several fields of one name are one value",
    ["x", "1", "y", "2", "x", "3"],
    { x: "1, 3", y: "2" },
  ],
  [
    "cookies are joined as in one header",
    ["cookie", "a=1", "cookie", "b=2"],
    { cookie: "a=1; b=2" },
  ],
  [
    "each set-cookie stays",
    ["set-cookie", "a", "set-cookie", "b, c"],
    { "set-cookie": ["a", "b, c"] },
  ],
  [
    "one content-type counts, the first",
    ["content-type", "a", "content-type", "b"],
    { "content-type": "a" },
  ],
  [":status is a number", [":status", "200", "x", ""], { ":status": 200, x: "" }],
])("of received fields, %s", (_, fields, headers) => {
  expect({ ...toHeaderList(fields) }).toEqual(headers);
});

test("a received field may have the name of a property that objects have", () => {
  const names = ["__proto__", "constructor", "hasownproperty", "tostring"];
  const headers = toHeaderList(names.flatMap((name) => [name, `of ${name}`]));
  expect(Object.keys(headers)).toEqual(names);
  for (const name of names) expect(headers[name]).toBe(`of ${name}`);
});

test("headers are sent in their order, an array as several fields, and numbers as text", () => {
  const headers = { ":status": 200, "x-bin": ["AA", "BB"], none: undefined, y: "" };
  expect(toFields(headers)).toEqual([":status", "200", "x-bin", "AA", "x-bin", "BB", "y", ""]);
});
