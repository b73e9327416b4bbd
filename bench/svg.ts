/** What the charts have in common. */

/** Returns a text; `kind` is a class of the chart's style sheet. */
export function text(kind: string, { x, y }: { x: number; y: number }, content: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" class="${kind}">${content}</text>`;
}
