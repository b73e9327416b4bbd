/** The tables and figures of the pages that the benchmarks write. */

/** Returns a table whose first column is text and whose other columns are figures. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (columns: readonly string[]) => `| ${columns.join(" | ")} |`;
  const rule = head.map((_, i) => (i === 0 ? "---" : "---:"));
  return [head, rule, ...rows].map(line).join("\n");
}

/** What stands where there is no figure. */
export const NONE = "–";

const orNone = (format: (value: number) => string) => (value: number) =>
  Number.isFinite(value) ? format(value) : NONE;

/** Three digits, with commas: 4,250,000. */
export const whole = orNone((value) => Number(value.toPrecision(3)).toLocaleString("en-US"));

/** Three digits: 0.298. */
export const short = orNone((value) => String(Number(value.toPrecision(3))));

export const ratio = orNone((value) => value.toFixed(value < 10 ? 2 : 1));

export const kib = orNone((bytes) => (bytes / 1024).toFixed(1));
