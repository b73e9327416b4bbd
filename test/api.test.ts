/** The committed surface of the package (scripts/api.ts): what it shows of an entry, and that a change is reported. */
import { expect, test } from "vitest";
import { changes, type Declarations, surfaceOf } from "../scripts/api.ts";

const files = {
  "dist/index.d.ts": `/** The entry. */
import "./runtime.ts";
export { Code } from "@connectrpc/connect";
export { open, type Opened as OpenFile } from "./files/open.ts";
export type { Reader } from "./reader.ts";
`,
  "dist/files/open.d.ts": `import type { Buffer } from "node:buffer";
import type { Place } from "./place.ts";
/** A file. "/* no comment" */
export interface Opened {
    /** The path of the file. */
    readonly place: Place;
    readonly bytes: Buffer; // all of them
    readonly mark: "/* no comment */";
}
export declare function open(path: string): Opened;
export declare function open(path: string, mode: Mode): Opened;
type Mode = "read" | "write";
interface Unseen {
    x: 1;
}
`,
  "dist/files/place.d.ts": `export interface Place extends Line {
    column: import("../reader.ts").Column;
}
interface Line {
    line: number;
}
`,
  "dist/reader.d.ts": `export type Column = number;
export declare class Reader<T> {
    #private;
    constructor(file: Secret, options: {
        deep: true;
    });
    read(): T;
}
interface Secret {
    key: string;
}
`,
};

const surface = (changed: Partial<typeof files> = {}): string =>
  surfaceOf(new Map(Object.entries({ ...files, ...changed })) as Declarations, "dist/index.d.ts");

test("the surface of an entry has its exports by name, then the types that they mention, without comments", () => {
  expect(surface().split("\n\n").slice(1)).toEqual([
    'export { Code } from "@connectrpc/connect";',
    "export { Opened as OpenFile };",
    "export declare class Reader<T> {\n    #private;\n    read(): T;\n}",
    "export declare function open(path: string): Opened;\nexport declare function open(path: string, mode: Mode): Opened;",
    "// Types that these mention, and that cannot be imported.",
    "type Column = number;",
    "interface Line {\n    line: number;\n}",
    'type Mode = "read" | "write";',
    'interface Opened {\n    readonly place: Place;\n    readonly bytes: Buffer;\n    readonly mark: "/* no comment */";\n}',
    "interface Place extends Line {\n    column: Column;\n}\n",
  ]);
});

test.each([
  [
    "of a function",
    "dist/files/open.d.ts",
    "open(path: string, mode: Mode)",
    "open(path: string, mode?: Mode)",
  ],
  ["of a member", "dist/files/open.d.ts", "readonly bytes: Buffer", "readonly bytes: string"],
  ["of a type that is only mentioned", "dist/files/place.d.ts", "line: number", "line: bigint"],
  ["of what is exported", "dist/index.d.ts", "export { Code }", "export { Code, ConnectError }"],
  ["of the name of an export", "dist/index.d.ts", "Opened as OpenFile", "Opened as File"],
] as const)("a change %s is reported, with both texts", (_, file, before, after) => {
  expect(files[file]).toContain(before);
  const reported = changes(surface(), surface({ [file]: files[file].replace(before, after) }));
  expect(reported.length).toBeGreaterThan(0);
  expect(reported.every((block) => /^(- .*\n?)+$|^(\+ .*\n?)+$/.test(block))).toBe(true);
});

test("a change of comments, of types that are not mentioned, or of a private constructor does not change the surface", () => {
  const open = files["dist/files/open.d.ts"]
    .replace("A file.", "The file.")
    .replace("x: 1", "x: 2");
  const reader = files["dist/reader.d.ts"].replace("deep: true", "deep: false");
  expect(
    changes(surface(), surface({ "dist/files/open.d.ts": open, "dist/reader.d.ts": reader })),
  ).toEqual([]);
});

test("an entry that exports all of another file has the surface of that file", () => {
  const all = {
    "dist/index.d.ts": 'export * from "./all.ts";',
    "dist/all.d.ts": files["dist/index.d.ts"],
  };
  expect(surface(all)).toBe(surface());
});

test("two types of one name in a surface are refused: a reader could not tell them apart", () => {
  const place = files["dist/files/place.d.ts"].replaceAll("Line", "Mode");
  expect(() => surface({ "dist/files/place.d.ts": place })).toThrow(
    "two declarations have the name Mode: dist/files/open.d.ts, dist/files/place.d.ts",
  );
  const reader = files["dist/reader.d.ts"]
    .replaceAll("Secret", "Reader2")
    .replace("read(): T", "read(): Opened");
  const own = `${reader}type Opened = 1;\n`;
  expect(() => surface({ "dist/reader.d.ts": own })).toThrow("the name Opened");
});
