/**
 * Draws the charts of the comparison: CPU per message, with a small chart for each row. chart.svg has some rows of both
 * roles; servers.svg and clients.svg have all rows of one.
 */
import { NONE } from "./markdown.ts";
import { cpuPerMillion, medianOf, type Results } from "./measure.ts";
import { type Cell, LARGE, MEDIUM, type Peer, type Role, roles, SMALL, sizes } from "./plan.ts";
import { bar, type Colour, card, line, type Point, text } from "./svg.ts";

const colours: Partial<Record<Peer, Colour>> = {
  hawser: "blue",
  "connect-node": "pink",
  "grpc-js": "orange",
  "grpc-go": "green",
  tonic: "red",
};

/** Its bars are several times as long as those of the others, and are cut. */
const CUT: Peer = "connect-node";

const BAR = { height: 13, gap: 3, longest: 170, left: 92 };
const COLUMN = 320;
const TOP = 96;
const LEFT = 20;

const UNIT = "µs of CPU per message (CPU seconds per million); shorter is better.";

/** The rows of chart.svg. */
const selected: readonly Cell[] = [
  { workload: "unary", streams: 100, size: SMALL },
  { workload: "ping-pong", streams: 100, size: SMALL },
  { workload: "pipelined", streams: 100, size: MEDIUM },
  { workload: "push", streams: 1, size: MEDIUM },
  { workload: "ping-pong", streams: 100, size: LARGE },
];

const kinds: readonly Pick<Cell, "workload" | "streams">[] = [
  { workload: "ping-pong", streams: 1 },
  { workload: "ping-pong", streams: 100 },
  { workload: "pipelined", streams: 1 },
  { workload: "pipelined", streams: 100 },
  { workload: "push", streams: 1 },
  { workload: "unary", streams: 1 },
  { workload: "unary", streams: 100 },
];

/** Returns chart.svg: some rows, as a server on the left and as a client on the right. */
export function overview(peers: readonly Peer[], results: Results): string {
  const columns = roles.map((role) => ({
    title: `As a ${role}`,
    charts: selected.map((cell) => ({
      title: `${kindOf(cell)}, ${sizeOf(cell.size)}`,
      role,
      cell,
    })),
  }));
  return grid(peers, results, { heading: "CPU per message, one connection", columns });
}

/** Returns servers.svg or clients.svg: all rows of a role, a column for each size. */
export function panels(peers: readonly Peer[], results: Results, role: Role): string {
  const columns = sizes.map((size) => ({
    title: sizeOf(size),
    charts: kinds.map((kind) => ({ title: kindOf(kind), role, cell: { ...kind, size } })),
  }));
  return grid(peers, results, { heading: `CPU per message as a ${role}`, columns });
}

interface Chart {
  readonly title: string;
  readonly role: Role;
  readonly cell: Cell;
}

interface Grid {
  readonly heading: string;
  readonly columns: readonly { readonly title: string; readonly charts: readonly Chart[] }[];
}

function grid(peers: readonly Peer[], results: Results, { heading, columns }: Grid): string {
  const rowHeight = 34 + peers.length * (BAR.height + BAR.gap);
  const rows = columns[0]?.charts.length ?? 0;
  const body = [text("note", { x: LEFT, y: 56 }, UNIT)];
  columns.forEach(({ title, charts }, column) => {
    const x = LEFT + column * COLUMN;
    body.push(text("title", { x, y: TOP - 12 }, title));
    charts.forEach((chart, row) => {
      body.push(...draw(peers, results, { chart, at: { x, y: TOP + row * rowHeight } }));
    });
  });
  const height = TOP + rows * rowHeight + 44;
  const notes = [
    `Each row has its own scale. A bar with a gap is cut: ${CUT}'s is longer than there is space for.`,
  ];
  if (columns.some(({ charts }) => charts.some(({ role }) => role === "server")))
    notes.push(
      "Dashed line, at servers: a socket that echoes, or sends, the same bytes, without gRPC.",
    );
  notes.forEach((note, n) => {
    body.push(text("note", { x: LEFT, y: height - 30 + n * 16 }, note));
  });
  const description = `${heading}: ${peers.join(", ")}`;
  return card({ width: columns.length * COLUMN + LEFT, height }, { heading, description }, body);
}

/** Draws the bars of a row, one for each peer. */
function draw(
  peers: readonly Peer[],
  results: Results,
  { chart, at }: { chart: Chart; at: Point },
): string[] {
  const rounds = results.rounds(chart.role, chart.cell);
  const costOf = (peer: Peer) => medianOf(rounds, peer, cpuPerMillion);
  const scaled = peers.filter((peer) => peer !== CUT).map(costOf);
  const longest = Math.max(...scaled.filter(Number.isFinite));
  const lengthOf = (cost: number) => Math.max(1.5, (cost / longest) * BAR.longest);
  const top = at.y + 18;
  const x = at.x + BAR.left;
  const drawn = [text("row", { x: at.x, y: at.y + 8 }, chart.title)];
  peers.forEach((peer, n) => {
    const cost = costOf(peer);
    const isCut = cost > longest;
    const width = isCut ? BAR.longest : lengthOf(cost);
    const y = top + n * (BAR.height + BAR.gap);
    const kind = peer === "hawser" ? "ours" : "name";
    drawn.push(
      text(kind, { x: x - 6, y: y + 11 }, peer),
      bar(colours[peer] ?? "grey", { x, y }, { width, height: BAR.height }),
      text(peer === "hawser" ? "row" : "value", { x: x + width + 5, y: y + 11 }, short(cost)),
    );
    if (isCut) drawn.push(cutMark({ x: x + width - 16, y }));
  });
  const socket = costOf("socket");
  if (!Number.isNaN(socket)) {
    const bottom = top + peers.length * (BAR.height + BAR.gap);
    const right = x + lengthOf(socket);
    drawn.push(line("reference", { x: right, y: top - 3 }, { x: right, y: bottom }));
  }
  return drawn;
}

function cutMark({ x, y }: Point): string {
  return line("gap", { x: x + 5, y: y - 2 }, { x, y: y + BAR.height + 2 });
}

function kindOf({ workload, streams }: Pick<Cell, "workload" | "streams">): string {
  if (workload === "unary")
    return streams === 1 ? "unary, 1 call" : `unary, ${streams} calls at a time`;
  return `${workload}, ${streams === 1 ? "1 stream" : `${streams} streams`}`;
}

const sizeOf = (size: number) => (size < 1024 ? `${size} B` : `${size / 1024} KiB`);
/** Two digits, or three from 100 on; a peer that got no message done has no figure. */
const short = (value: number) =>
  Number.isFinite(value) ? String(Number(value.toPrecision(value >= 100 ? 3 : 2))) : NONE;
