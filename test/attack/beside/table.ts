/** The lines that are printed, and docs/attacks.md. */
import type { Row } from "./row.ts";

const ms = (value: number) => (value < 10 ? value.toFixed(1) : value.toFixed(0));

/** One row in words, for the terminal. */
export function lineOf(row: Row): string {
  const { attack, size, column, before, during, after, resumed, report } = row;
  const failed = before.failed + during.failed + after.failed;
  const calls = before.calls + during.calls + after.calls;
  const parts = [
    `${attack.name} ${size} ${column}:`,
    `${failed} of ${calls} failed;`,
    `p50 ${ms(before.p50)} → ${ms(during.p50)} → ${ms(after.p50)} ms,`,
    `p90 ${ms(before.p90)} → ${ms(during.p90)} → ${ms(after.p90)} ms,`,
    `longest ${ms(before.longest)} → ${ms(during.longest)} → ${ms(after.longest)} ms;`,
    ...(resumed === undefined
      ? []
      : [`${resumed.calls} resumes, p99 ${ms(resumed.p99)} ms, longest ${ms(resumed.longest)};`]),
    `RSS ${row.peakRssMib.toFixed(0)} MiB,`,
    ...(row.keptMib === undefined ? [] : [`${row.keptMib.toFixed(0)} MiB kept;`]),
    ...(row.diskMib === 0 ? [] : [`${row.diskMib.toFixed(0)} MiB on disk;`]),
    `${report.connections} connections, ${cutOffOf(row)}; SIGTERM ${ms(row.endedMs)} ms;`,
    `${(report.sentBytes / 1e6).toFixed(1)} MB sent`,
    ...Object.entries(report.counts).map(([what, count]) => `, ${count.toLocaleString()} ${what}`),
  ];
  return parts.join(" ").replaceAll(" ,", ",");
}

/** When the server closed the connections of the attack. */
function cutOffOf({ report }: Row): string {
  const { cutOff, cutAfterMs, calmed } = report;
  if (cutOff === 0) return "none cut off";
  const how = calmed === 0 ? "" : `, ${calmed} by ENHANCE_YOUR_CALM`;
  return `${cutOff} cut off after ${ms(cutAfterMs)} ms${how}`;
}

/** The page with the rows of both columns, of the usual size. */
export function page(rows: readonly Row[], method: string): string {
  const names = [...new Set(rows.map(({ attack }) => attack.name))];
  const of = (name: string, column: Row["column"]) =>
    rows.find((row) => row.attack.name === name && row.column === column);
  const lines = names.flatMap((name) => {
    const own = of(name, "own");
    const shared = of(name, "shared");
    if (own === undefined || shared === undefined) return [];
    const failed = [own, shared].map(
      (row) => row.before.failed + row.during.failed + row.after.failed,
    );
    const cells = [
      own.attack.does,
      failed.join(" / "),
      `${ms(own.before.p90)} / ${ms(own.during.p90)} / ${ms(shared.during.p90)}`,
      `${ms(own.during.longest)} / ${ms(shared.during.longest)}`,
      own.resumed === undefined ? "" : `${ms(own.resumed.p99)} / ${ms(shared.resumed?.p99 ?? 0)}`,
      Math.max(own.peakRssMib, shared.peakRssMib).toFixed(0),
      cutOffOf(own),
    ];
    return [`| ${cells.join(" | ")} |`];
  });
  return `# Beside hostile clients

After this page you know what a client of a server gets while another one attacks it.

Written by \`npm run attack\`; do not edit. ${method}

Each row is a server of its own, the example's with its defaults. An honest client makes 25 calls a second, and waits 4 s
for each: for 5 s before the attack, during it, and for 5 s after it. In the first figure of each pair the attacker has
another address than the honest client; in the second one they share an address, as behind a NAT. The three figures of
p90 are those before the attack, and during it with two addresses and with one.

| Attack | Failed | p90, ms | Longest, ms | Resume p99, ms | RSS, MiB | The attacker |
| ------ | -----: | ------: | ----------: | -------------: | -------: | ------------ |
${lines.join("\n")}

What each row must keep is in \`test/attack/beside/bounds.ts\`: no honest call fails, p90 is at most 25 ms or 5 times that
before the attack, no call takes a second, the server has at most 512 MiB, ends at SIGTERM within its grace, and 15 s later
holds at most 50 MiB more than before. With one address the bounds of time are 5 times as wide.
`;
}
