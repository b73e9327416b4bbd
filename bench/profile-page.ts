/** Writes docs/where-the-time-goes.md, and draws profile.svg for it. */
import { short, table } from "./markdown.ts";
import { nameOf, type Role, roles } from "./plan.ts";
import type { Profiled } from "./profile.ts";
import { PARTS, type Part } from "./profile-parts.ts";
import { bar, type Colour, card, text } from "./svg.ts";

const parts = Object.keys(PARTS) as Part[];

const colours: Record<Part, Colour> = {
  "socket write": "grey",
  "call layer, handler": "blue",
  promises: "sky",
  protobuf: "orange",
  "garbage collection": "red",
  engine: "green",
  framing: "yellow",
  sessions: "pink",
  "Node's streams": "pale",
  "other native code": "faint",
};

/** The number of functions that the page names for a row. */
const FUNCTIONS = 5;

export interface ProfileMethod {
  readonly date: string;
  readonly machine: string;
  readonly measureMs: number;
}

export function page(
  rows: readonly Profiled[],
  { date, machine, measureMs }: ProfileMethod,
): string {
  return `# Where the time goes

After this page you know which parts of Hawser take the CPU of a message, at a server and at a client.

Written by \`npm run bench -- --profile\` on ${date}; do not edit. [How fast](performance.md) compares the sums with other
implementations.

![The share of each part in the CPU of a message](../bench/profile.svg)

Each row ran for ${measureMs / 1000} s in new processes under Node's profiler (\`--cpu-prof\`), after a warm-up. A row is "workload streams ×
content", as in [the results](../bench/RESULTS.md). Machine: ${machine}. The shares are those of the
thread of JavaScript, without the time in which it waits: the threads of V8 that collect garbage and compile are not seen. A
native function counts for its caller, as do Node's functions for buffers and text. The last column is the CPU of the whole process for a message, with the profiler.

${roles.map((role) => section(role, rows)).join("\n\n")}

## The parts

${parts.map((part) => `- ${part}: ${PARTS[part]}.`).join("\n")}
`;
}

function section(role: Role, rows: readonly Profiled[]): string {
  const ofRole = rows.filter((row) => row.role === role);
  const most = ofRole.map(
    ({ cell, divided }) =>
      `- ${nameOf(cell)}: ${divided.functions
        .slice(0, FUNCTIONS)
        .map(({ name, share }) => `\`${name}\` ${percent(share)}`)
        .join(", ")}.`,
  );
  return `## As a ${role}

${table(
  ["", ...parts, "µs a message"],
  ofRole.map(({ cell, cpu, divided }) => [
    nameOf(cell),
    ...parts.map((part) => percent(divided.shares.get(part) ?? 0)),
    short(cpu),
  ]),
)}

The functions that take most themselves:

${most.join("\n")}`;
}

const percent = (share: number) => `${Math.round(share * 100)} %`;

const ROW = { height: 18, gap: 8, left: 190, width: 560 };
const TOP = 122;
const WIDTH = 780;

/** Draws one bar a row, divided into the parts. */
export function chart(rows: readonly Profiled[]): string {
  const body: string[] = [];
  parts.forEach((part, n) => {
    const at = { x: 20 + (n % 5) * 152, y: 56 + Math.floor(n / 5) * 18 };
    body.push(bar(colours[part], at, { width: 11, height: 11 }));
    body.push(text("value", { x: at.x + 16, y: at.y + 10 }, part));
  });
  let y = TOP;
  for (const role of roles) {
    body.push(text("title", { x: 20, y: y - 6 }, `As a ${role}`));
    for (const { cell, divided } of rows.filter((row) => row.role === role)) {
      body.push(text("name", { x: ROW.left - 8, y: y + 13 }, nameOf(cell)));
      body.push(...stacked(divided.shares, y));
      y += ROW.height + ROW.gap;
    }
    y += 30;
  }
  const heading = "Where the CPU of a message goes";
  const description = `${heading}: the share of each part, by row`;
  return card({ width: WIDTH, height: y - 10 }, { heading, description }, body);
}

function stacked(shares: ReadonlyMap<Part, number>, y: number): string[] {
  const drawn: string[] = [];
  let x = ROW.left;
  for (const part of parts) {
    const width = (shares.get(part) ?? 0) * ROW.width;
    drawn.push(bar(colours[part], { x, y }, { width: Math.max(0, width - 1), height: ROW.height }));
    if (width > 40) {
      drawn.push(
        text(
          `inside on-${colours[part]}`,
          { x: x + width / 2, y: y + 13 },
          percent(shares.get(part) ?? 0),
        ),
      );
    }
    x += width;
  }
  return drawn;
}
