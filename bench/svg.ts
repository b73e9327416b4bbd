/** What the charts have in common: a card that is readable on light and on dark pages, its texts, and its colours. */

/**
 * The colours of Okabe and Ito, which colour-blind people can distinguish; blue and grey are lighter on a dark page. A
 * chart also names what it draws: its reader needs no colour.
 */
const STYLE = `
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.heading { font-size: 18px; font-weight: 600 }
.title { font-size: 15px; font-weight: 600 }
.row { font-weight: 600 }
.name { text-anchor: end }
.ours { text-anchor: end; font-weight: 600 }
.middle { text-anchor: middle }
.note { fill: #59636e }
.card { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d1d9e0 }
.reference { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 3 2 }
.gap { stroke: #ffffff; stroke-width: 3 }
.blue { fill: #0072b2 } .blue-line { stroke: #0072b2 }
.pink { fill: #cc79a7 }
.orange { fill: #e69f00 }
.green { fill: #009e73 }
.red { fill: #d55e00 } .red-line { stroke: #d55e00 }
.sky { fill: #56b4e9 }
.yellow { fill: #d8c800 }
.grey { fill: #8a8f98 }
.pale { fill: #c9ced6 }
.faint { fill: #e9ecf0 }
.inside { text-anchor: middle; fill: #111111 }
.on-blue, .on-green, .on-red { text-anchor: middle; fill: #ffffff }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.note { fill: #9198a1 }
.card { fill: #0d1117; stroke: #3d444d }
.grid { stroke: #3d444d }
.reference { stroke: #f0f6fc }
.gap { stroke: #0d1117 }
.blue { fill: #3b9ddd } .blue-line { stroke: #3b9ddd }
.pale { fill: #6e7681 }
.faint { fill: #3d444d }
.on-pale, .on-faint { fill: #ffffff }
}`;

export type Colour =
  | "blue"
  | "pink"
  | "orange"
  | "green"
  | "red"
  | "sky"
  | "yellow"
  | "grey"
  | "pale"
  | "faint";

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Returns a chart: a card with a heading and a description for those who cannot see it. */
export function card(
  { width, height }: { width: number; height: number },
  { heading, description }: { heading: string; description: string },
  body: readonly string[],
): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="description">
<title id="description">${escaped(description)}</title>
<style>${STYLE}
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="10" class="card"/>
${text("heading", { x: 20, y: 36 }, heading)}
${body.join("\n")}
</svg>
`;
}

/** Returns a text; `kind` is a class of the style sheet. */
export function text(kind: string, { x, y }: Point, content: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" class="${kind}">${escaped(content)}</text>`;
}

export function bar(
  colour: Colour,
  { x, y }: Point,
  size: { width: number; height: number },
): string {
  return `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${size.width.toFixed(1)}" height="${size.height}" class="${colour}"/>`;
}

export function line(kind: string, from: Point, to: Point): string {
  return `<line x1="${from.x.toFixed(1)}" y1="${from.y.toFixed(1)}" x2="${to.x.toFixed(1)}" y2="${to.y.toFixed(1)}" class="${kind}"/>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
