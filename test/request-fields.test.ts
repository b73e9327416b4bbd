import { expect, test } from "vitest";
import { RequestFields } from "../src/connection/request-headers.ts";
import { InvalidFieldsError } from "../src/http2/errors.ts";
import { FixedFields } from "../src/http2/fixed-fields.ts";

const own = () => ({ ":method": "POST", ":scheme": "http", ":path": "/a", ":authority": "here" });
const listFor = (authority: string) => [
  ...[":method", "POST", ":scheme", "http", ":path", "/a"],
  ...[":authority", authority],
];
const timeout = ["grpc-timeout", "1S"];

test("headers that many calls send are checked once, and once more for another authority", () => {
  const fields = new RequestFields(own(), undefined, true);
  const here = fields.to("here", []);
  expect(here).toBeInstanceOf(FixedFields);
  expect(fields.to("here", [])).toBe(here);
  expect(fields.to("here", timeout)).toEqual({ fixed: here, more: timeout });
  const there = fields.to("elsewhere", []);
  expect(there).toMatchObject({ list: listFor("elsewhere") });
  expect(here).toMatchObject({ list: listFor("here") });
  expect(fields.bytes).toBe(listFor("elsewhere").join("").length + 4 * 32);
});

test("headers that HTTP/2 does not allow fail each time", () => {
  const fields = new RequestFields({ ...own(), ":path": "" }, undefined, true);
  for (let n = 0; n < 2; n++) expect(() => fields.to("here", [])).toThrow(InvalidFieldsError);
});

test("headers of one call are a list, which no connection keeps", () => {
  const fields = new RequestFields(own(), new Headers({ "x-id": "1" }));
  expect(fields.to("here", timeout)).toEqual([...listFor("here"), "x-id", "1", ...timeout]);
  expect(fields.to("elsewhere", [])).toEqual([...listFor("elsewhere"), "x-id", "1"]);
});
