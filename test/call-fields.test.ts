import { expect, test } from "vitest";
import { toHeaderList } from "../src/connection/fields.ts";
import { CallFields } from "../src/grpc/call-fields.ts";

const all = [
  [":method", "POST"],
  [":path", "/a"],
  ["content-type", "application/grpc"],
  ["content-type", "text/plain"],
  ["grpc-timeout", "1S"],
  ["grpc-timeout", "2S"],
  ["grpc-encoding", "gzip"],
  ["grpc-encoding", "br"],
  ["grpc-accept-encoding", "br"],
  ["grpc-accept-encoding", "gzip"],
  ["hawser-session", "x"],
  // As long as the names above.
  [":size", "1"],
  ["x-timeout", "1"],
  ["grpc-timeouts", "3S"],
  ["content-typo", "x"],
  ["hawser-sessio", "x"],
].flat();

test("the fields that decide how a call is served have the values of the header list", () => {
  const headers = toHeaderList(all);
  expect({ ...new CallFields(all) }).toEqual({
    path: headers[":path"],
    method: headers[":method"],
    contentType: headers["content-type"],
    timeout: headers["grpc-timeout"],
    encoding: headers["grpc-encoding"],
    acceptEncoding: headers["grpc-accept-encoding"],
    hasSession: true,
  });
});

test("fields that a request does not have are undefined", () => {
  expect({ ...new CallFields([":method", "POST", "te", "trailers"]) }).toEqual({
    method: "POST",
    hasSession: false,
  });
});
