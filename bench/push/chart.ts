/** Draws push.svg: the CPU of the server for a delivery, by the size of the crowd. In the style of bench/chart.ts. */
import { text } from "../svg.ts";
import type { Peer } from "./job.ts";
import { CROWDS, costOf, type Findings } from "./plan.ts";

const lines: readonly { peer: Peer; color: string; name: string }[] = [
  { peer: "hawser", color: "#0b6bcb", name: "hawser" },
  { peer: "socket.io", color: "#b4561f", name: "socket.io" },
];

const plot = { left: 70, right: 560, top: 70, bottom: 290 };
const size = { width: 680, height: 350 };

export function chart(found: Findings): string {
  const costs = lines.map(({ peer }) => CROWDS.map((watchers) => costOf(found, peer, watchers)));
  const most = niceAbove(Math.max(...costs.flat()));
  const x = (n: number) => plot.left + (n / (CROWDS.length - 1)) * (plot.right - plot.left);
  const y = (cost: number) => plot.bottom - (cost / most) * (plot.bottom - plot.top);
  const body: string[] = [];
  for (let n = 0; n <= 4; n++) {
    const cost = (most * n) / 4;
    body.push(
      `<line x1="${plot.left}" x2="${plot.right}" y1="${y(cost).toFixed(1)}" y2="${y(cost).toFixed(1)}" stroke="#d1d9e0"/>`,
      text("name", { x: plot.left - 8, y: y(cost) + 4 }, short(cost)),
    );
  }
  CROWDS.forEach((watchers, n) => {
    body.push(text("middle", { x: x(n), y: plot.bottom + 20 }, watchers.toLocaleString("en-US")));
  });
  body.push(text("middle", { x: (plot.left + plot.right) / 2, y: plot.bottom + 42 }, "watchers"));
  lines.forEach(({ color, name }, l) => {
    const points = (costs[l] as number[]).map((cost, n) => [x(n), y(cost), cost] as const);
    const path = points.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ");
    body.push(`<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2.5"/>`);
    for (const [px, py, cost] of points) {
      body.push(
        `<circle cx="${px.toFixed(1)}" cy="${py.toFixed(1)}" r="4" fill="${color}"/>`,
        text("middle", { x: px, y: py - 10 }, short(cost)),
      );
    }
    const [, py] = points.at(-1) as readonly [number, number, number];
    body.push(text("row", { x: plot.right + 14, y: py + 4 }, name));
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}" role="img" aria-labelledby="heading">
<title id="heading">CPU of the server a delivery with its share of the post, by the number of watchers: ${lines.map(({ name }) => name).join(", ")}</title>
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.heading { font-size: 18px; font-weight: 600 }
.row { font-weight: 600 }
.name { text-anchor: end }
.middle { text-anchor: middle }
</style>
<rect width="${size.width}" height="${size.height}" rx="10" fill="#ffffff" stroke="#d1d9e0"/>
<text x="20" y="36" class="heading">µs of the server's CPU a delivery, with its share of the post</text>
${body.join("\n")}
</svg>
`;
}

/** A round number with some space above the largest value. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 8, 12].find((step) => step * power >= value * 1.1) ?? 20) * power;
}

const short = (value: number) => String(Number(value.toPrecision(2)));
