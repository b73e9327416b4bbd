/** Draws web.svg: the messages a second in a page, with a small chart for each row. In the style of bench/chart.ts. */
import { whole } from "../markdown.ts";
import { bar, type Colour, card, line, type Point, text } from "../svg.ts";
import type { Peer } from "./job.ts";
import { type Findings, medianOf, nameOf, peersOf, perSecond, rows } from "./plan.ts";
import type { Row } from "./stage.ts";

const bars: readonly { peer: Peer; name: string; colour: Colour }[] = [
  { peer: "hawser", name: "hawser", colour: "blue" },
  { peer: "JSON messages", name: "JSON messages", colour: "orange" },
  { peer: "socket.io", name: "socket.io", colour: "red" },
  { peer: "JSON arrays", name: "JSON arrays", colour: "green" },
  { peer: "hawser tcp", name: "hawser, Node", colour: "pale" },
];

/** The most that a WebSocket of the browser delivers. */
const REFERENCE: Peer = "64 KiB frames";

const BAR = { height: 16, gap: 5, longest: 190, left: 96 };
const PANEL = { width: 370, height: 150 };
const [TOP, LEFT] = [92, 20];

const titles: Partial<Record<Row["workload"], string>> = { echo: "Echo", push: "Push" };

export function chart(found: Findings): string {
  const heading = "Messages a second in a page of Chromium, one WebSocket";
  const body = [
    text("note", { x: LEFT, y: 56 }, "Longer is better. Each chart has its own scale."),
  ];
  rows.forEach((row, n) => {
    const at = {
      x: LEFT + (n % 2) * PANEL.width,
      y: TOP + Math.floor(n / 2) * PANEL.height,
    };
    body.push(...panel(found, row, at));
  });
  const height = TOP + Math.ceil(rows.length / 2) * PANEL.height + 46;
  const notes = [
    "JSON messages: one in each WebSocket frame. JSON arrays: 100 messages (15 B) or 50 (1 KiB) in each frame, by hand.",
    "hawser, Node: the same calls on Node, over TCP. Dashed line: bytes of binary frames of 64 KiB, which nobody reads.",
  ];
  notes.forEach((note, n) => {
    body.push(text("note", { x: LEFT, y: height - 34 + n * 16 }, note));
  });
  const names = bars.map(({ name }) => name).join(", ");
  return card(
    { width: LEFT + 2 * PANEL.width, height },
    { heading, description: `${heading}: ${names}` },
    body,
  );
}

function panel(found: Findings, row: Row, { x, y }: Point): string[] {
  const rateOf = (peer: Peer) => medianOf(found, { row, peer }, perSecond);
  const rates = [...bars.map(({ peer }) => peer), REFERENCE].map(rateOf).filter(Number.isFinite);
  const most = Math.max(...rates);
  const left = x + BAR.left;
  const widthOf = (rate: number) => Math.max(1.5, (rate / most) * BAR.longest);
  const [kind, size = ""] = nameOf(row).split(/ (.*)/);
  const drawn = [text("title", { x, y: y + 4 }, `${titles[row.workload] ?? kind}, ${size}`)];
  bars.forEach(({ peer, name, colour }, n) => {
    const rate = rateOf(peer);
    if (!Number.isFinite(rate)) return;
    const top = y + 14 + n * (BAR.height + BAR.gap);
    const isOurs = peer === "hawser";
    drawn.push(
      text(isOurs ? "ours" : "name", { x: left - 6, y: top + 12 }, name),
      bar(colour, { x: left, y: top }, { width: widthOf(rate), height: BAR.height }),
      text(isOurs ? "row" : "value", { x: left + widthOf(rate) + 6, y: top + 12 }, whole(rate)),
    );
  });
  if (peersOf(row).includes(REFERENCE) && Number.isFinite(rateOf(REFERENCE))) {
    const at = left + widthOf(rateOf(REFERENCE));
    // Not through the last bar, whose figure may be there.
    const bottom = y + 14 + (bars.length - 1) * (BAR.height + BAR.gap);
    drawn.push(line("reference", { x: at, y: y + 10 }, { x: at, y: bottom }));
  }
  return drawn;
}
