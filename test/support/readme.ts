/**
 * README.md as a program. Each of its code blocks says behind its language what it is:
 *
 *     file=PROJECT/NAME   a file of a project
 *     in=PROJECT          commands to type there, a line each; `serves` means that the last one goes on
 *     output              what the commands before it print
 *     run=NAME            a piece of a program: those of one name belong together, `// → ` shows what is printed
 *     same=PATH           a file of the repository, which tests of its own run
 *     layout, drawing     nothing to run
 */
import { readFileSync } from "node:fs";

export interface Block {
  /** Where it begins in README.md. */
  readonly line: number;
  readonly language: string;
  readonly file?: string;
  readonly in?: string;
  readonly run?: string;
  readonly same?: string;
  readonly serves: boolean;
  readonly output: boolean;
  readonly layout: boolean;
  readonly drawing: boolean;
  readonly code: string;
}

export const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

/** The code blocks of README.md, in order. */
export const blocks: readonly Block[] = [
  ...readme.matchAll(/^```(\S*)(.*)\n((?:(?!```).*\n)*)```$/gm),
].map(({ 1: language = "", 2: info = "", 3: code = "", index }) => {
  const words = info.trim().split(/\s+/);
  const attribute = (name: string) =>
    words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
  return {
    line: readme.slice(0, index).split("\n").length,
    language,
    file: attribute("file"),
    in: attribute("in"),
    run: attribute("run"),
    same: attribute("same"),
    serves: words.includes("serves"),
    output: words.includes("output"),
    layout: words.includes("layout"),
    drawing: words.includes("drawing"),
    code,
  };
});

/** What README.md says that the commands of a block print: the block behind it, if that is output. */
export function outputOf(block: Block): string | undefined {
  const next = blocks[blocks.indexOf(block) + 1];
  return next?.output ? next.code : undefined;
}

/** The rows of the table under the first heading cell, without their formatting. */
export function tableOf(heading: string): string[][] {
  const lines = readme.split("\n");
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} `));
  const end = lines.findIndex((line, at) => at > start && !line.startsWith("|"));
  return lines.slice(start + 2, end).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("`", "")),
  );
}
