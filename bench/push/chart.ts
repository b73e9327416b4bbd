/** Draws push.svg: the CPU of the server for a delivery, by the size of the crowd. In the style of bench/chart.ts. */
import { card, line, text } from "../svg.ts";
import type { Peer } from "./job.ts";
import { CROWDS, costOf, type Findings } from "./plan.ts";

const lines: readonly { peer: Peer; colour: "blue" | "red"; name: string }[] = [
  { peer: "hawser", colour: "blue", name: "hawser" },
  { peer: "socket.io", colour: "red", name: "socket.io" },
];

const plot = { left: 70, right: 560, top: 70, bottom: 290 };
const size = { width: 680, height: 350 };

export function chart(found: Findings): string {
  const costs = lines.map(({ peer }) => CROWDS.map((watchers) => costOf(found, peer, watchers)));
  // A server that delivered no post in a measurement has no cost there.
  const most = niceAbove(Math.max(...costs.flat().filter(Number.isFinite)));
  const x = (n: number) => plot.left + (n / (CROWDS.length - 1)) * (plot.right - plot.left);
  const y = (cost: number) => plot.bottom - (cost / most) * (plot.bottom - plot.top);
  const body: string[] = [];
  for (let n = 0; n <= 4; n++) {
    const cost = (most * n) / 4;
    body.push(
      line("grid", { x: plot.left, y: y(cost) }, { x: plot.right, y: y(cost) }),
      text("name", { x: plot.left - 8, y: y(cost) + 4 }, short(cost)),
    );
  }
  CROWDS.forEach((watchers, n) => {
    body.push(text("middle", { x: x(n), y: plot.bottom + 20 }, watchers.toLocaleString("en-US")));
  });
  body.push(text("middle", { x: (plot.left + plot.right) / 2, y: plot.bottom + 42 }, "watchers"));
  lines.forEach(({ colour, name }, l) => {
    const points = (costs[l] as number[])
      .map((cost, n) => [x(n), y(cost), cost] as const)
      .filter(([, , cost]) => Number.isFinite(cost));
    const path = points.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ");
    body.push(`<polyline points="${path}" fill="none" class="${colour}-line" stroke-width="2.5"/>`);
    for (const [px, py, cost] of points) {
      body.push(
        `<circle cx="${px.toFixed(1)}" cy="${py.toFixed(1)}" r="4" class="${colour}"/>`,
        text("middle", { x: px, y: py - 10 }, short(cost)),
      );
    }
    const [, py] = points.at(-1) as readonly [number, number, number];
    body.push(text("row", { x: plot.right + 14, y: py + 4 }, name));
  });
  const heading = "µs of the server's CPU a delivery, with its share of the post";
  const names = lines.map(({ name }) => name).join(", ");
  return card(
    size,
    { heading, description: `${heading}, by the number of watchers: ${names}` },
    body,
  );
}

/** A round number with some space above the largest value. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 8, 12].find((step) => step * power >= value * 1.1) ?? 20) * power;
}

const short = (value: number) => String(Number(value.toPrecision(2)));
