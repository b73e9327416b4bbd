/**
 * Draws chart.svg: messages a second with small messages, servers on the left, clients on the right. The chart has a
 * background of its own, so that it is readable on white and on dark pages.
 */
import { medianOf, perSecond, type Results } from "./measure.ts";
import { cells, type Peer, type Role } from "./plan.ts";
import { text } from "./svg.ts";

const colors: Record<Peer, string> = {
  hawser: "#0b6bcb",
  "connect-node": "#b4561f",
  "grpc-js": "#8a8f98",
  "grpc-go": "#1b8a5a",
  before: "#7a5aa6",
};

const smallest = 15;
const bar = { height: 16, gap: 3, longest: 250 };
const panelWidth = 440;
const top = 92;

export function chart(peers: readonly Peer[], results: Results): string {
  const rows = cells.filter(({ size, workload }) => size === smallest && workload !== "unary");
  const rowHeight = 30 + peers.length * (bar.height + bar.gap) + 12;
  const width = 2 * panelWidth + 40;
  const height = top + rows.length * rowHeight + 34;
  const body: string[] = [];

  const panel = (role: Role, left: number) => {
    body.push(text("title", { x: left, y: top - 14 }, `As a ${role}`));
    rows.forEach((cell, index) => {
      const y = top + index * rowHeight;
      const plural = cell.streams === 1 ? "stream" : "streams";
      body.push(text("row", { x: left, y: y + 18 }, `${cell.workload}, ${cell.streams} ${plural}`));
      const rounds = results.rounds(role, cell);
      const rates = peers.map((peer) => medianOf(rounds, peer, perSecond));
      const fastest = Math.max(...rates);
      peers.forEach((peer, i) => {
        const rate = rates[i]!;
        const length = Math.max(2, (rate / fastest) * bar.longest);
        const barY = y + 28 + i * (bar.height + bar.gap);
        body.push(text("name", { x: left + 84, y: barY + 12 }, peer));
        body.push(
          `<rect x="${left + 92}" y="${barY}" width="${length.toFixed(1)}" height="${bar.height}" rx="2" fill="${colors[peer]}"/>`,
        );
        body.push(text("value", { x: left + 98 + length, y: barY + 12 }, compact(rate)));
      });
    });
  };
  panel("server", 20);
  panel("client", 20 + panelWidth);
  body.push(
    text("note", { x: 20, y: height - 16 }, "Each row has its own scale; longer is faster."),
  );

  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="heading">
<title id="heading">Messages a second with ${smallest}-byte messages: ${peers.join(", ")}</title>
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.heading { font-size: 18px; font-weight: 600 }
.title { font-size: 15px; font-weight: 600 }
.row { font-weight: 600 }
.name { text-anchor: end }
.note { fill: #59636e }
</style>
<rect width="${width}" height="${height}" rx="10" fill="#ffffff" stroke="#d1d9e0"/>
<text x="20" y="36" class="heading">Messages a second, ${smallest}-byte messages, one connection</text>
${body.join("\n")}
</svg>
`;
}

const compact = (rate: number) =>
  rate >= 100_000 ? `${Math.round(rate / 1000)} k` : `${(rate / 1000).toFixed(1)} k`;
