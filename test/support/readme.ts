/**
 * README.md and the pages of docs/ as programs. Each of their code blocks says after its language what it is:
 *
 *     file=PROJECT/NAME   a file of a project
 *     made=PROJECT/NAME   a file that an earlier command made in a project, word for word
 *     in=PROJECT          commands to type there, a line each; `serves` means that the last one keeps running
 *     output              what the commands before it print
 *     run=NAME            a piece of a program: those of one name on one page belong together, `// → ` shows what is printed
 *     same=PATH           a file of the repository, which other tests run
 *     part=PATH           a part of another page, or of a file, word for word
 *     by-hand             commands that no test runs, because they take long, or need tools that are not always installed;
 *                         the npm scripts and files that they name exist
 *     layout, drawing     nothing to run: what they name exists
 */
import { readdirSync, readFileSync } from "node:fs";

/** A Markdown file of the repository, by its path. */
export interface Page {
  readonly path: string;
  readonly text: string;
}

export interface Block {
  readonly page: string;
  /** The block's first line in its page. */
  readonly line: number;
  readonly language: string;
  readonly file?: string;
  readonly made?: string;
  readonly in?: string;
  readonly run?: string;
  readonly same?: string;
  readonly part?: string;
  readonly serves: boolean;
  readonly output: boolean;
  readonly byHand: boolean;
  readonly layout: boolean;
  readonly drawing: boolean;
  readonly code: string;
}

const root = new URL("../../", import.meta.url);
const read = (path: string): Page => ({ path, text: readFileSync(new URL(path, root), "utf8") });

/** The text of README.md. */
export const readme = read("README.md").text;

const contents = read("docs/README.md").text;

/** The place of a page of docs/ in the table of contents, docs/README.md; pages that are not named there come last. */
function positionOf(page: string): number {
  const at = contents.indexOf(`](${page})`);
  return at < 0 ? contents.length : at;
}

/** README.md, and what explains Hawser in more words, in the order in which a newcomer reads it. */
export const pages: readonly Page[] = [
  "README.md",
  "docs/README.md",
  ...readdirSync(new URL("docs", root))
    .filter((name) => name.endsWith(".md") && name !== "README.md")
    .sort((a, b) => positionOf(a) - positionOf(b))
    .map((name) => `docs/${name}`),
  "CONTRIBUTING.md",
  "SECURITY.md",
].map(read);

/** The code blocks of all pages, in order. */
export const blocks: readonly Block[] = pages.flatMap(blocksOf);

function blocksOf({ path, text }: Page): Block[] {
  const fenced = /^ *```(\S*)(.*)\n((?:(?! *```).*\n)*) *```$/gm;
  return [...text.matchAll(fenced)].map(
    ({ 1: language = "", 2: info = "", 3: code = "", index }) => {
      const words = info.trim().split(/\s+/);
      const attribute = (name: string) =>
        words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
      return {
        page: path,
        line: text.slice(0, index).split("\n").length,
        language,
        file: attribute("file"),
        made: attribute("made"),
        in: attribute("in"),
        run: attribute("run"),
        same: attribute("same"),
        part: attribute("part"),
        serves: words.includes("serves"),
        output: words.includes("output"),
        byHand: words.includes("by-hand"),
        layout: words.includes("layout"),
        drawing: words.includes("drawing"),
        code,
      };
    },
  );
}

/** The output that a page shows for the commands of a block: the block after it, if that is output. */
export function outputOf(block: Block): string | undefined {
  const next = blocks[blocks.indexOf(block) + 1];
  return next?.output && next.page === block.page ? next.code : undefined;
}

/** The rows of a page's table under the first heading cell, without their formatting. */
export function tableOf(heading: string, path = "README.md"): string[][] {
  const lines = pages.find((page) => page.path === path)?.text.split("\n") ?? [];
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} `));
  const end = lines.findIndex((line, at) => at > start && !line.startsWith("|"));
  return lines.slice(start + 2, end).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("`", "")),
  );
}
