/** What a bundler makes of hawser/web for a page. */
import { beforeAll, expect, test } from "vitest";
import { type Bundle, bundle } from "../scripts/web-page.ts";

let page: Bundle;

beforeAll(async () => {
  page = await bundle({ conditions: ["hawser-source"] });
});

/** The programs that the bundle was made of. */
const inputs = () => Object.keys(page.metafile.inputs);

/** What in the bundle matches. */
const found = (pattern: RegExp) => page.code.match(pattern) ?? [];

test("a page needs nothing of Node, and nothing that is not in the bundle", () => {
  expect(inputs()).toContain("src/web/transport.ts");
  expect(inputs().filter((file) => file.startsWith("src/node/"))).toEqual([]);
  const [output] = Object.values(page.metafile.outputs);
  expect(output?.imports).toEqual([]);
  expect(found(/\bnode:|\brequire\(|\bimport\(|\bsetImmediate\b|\bBuffer\b/g)).toEqual([]);
});

test("a page makes no code at run time, so that a strict Content-Security-Policy has nothing to report", () => {
  expect(inputs().filter((file) => file.includes("/compiled/"))).toEqual([]);
  expect(found(/\bFunction\(|\beval\b/g)).toEqual([]);
});

test("a page needs no explicit resource management of its browser", async () => {
  const readable = { conditions: ["hawser-source"], minify: false, target: "esnext" };
  const { code } = await bundle(readable);
  expect(code.match(/\busing [\w$]+ =/g) ?? []).toEqual([]);
});

test("a bundler for browsers takes hawser/web for hawser", async () => {
  const stdin = { contents: 'export * from "hawser"', resolveDir: "." };
  const { metafile } = await bundle({ conditions: ["hawser-source"], entryPoints: [], stdin });
  expect(Object.keys(metafile.inputs)).toContain("src/web/transport.ts");
  expect(Object.keys(metafile.inputs)).not.toContain("src/node/transport.ts");
});
