/** Counts and prints: one line per scenario. */
const SCENARIO_LIMIT_MS = 20_000;

let passed = 0;
let failed = 0;

export function pass(name: string): void {
  passed++;
  console.log(`PASS ${name}`);
}

export function fail(name: string, reason: unknown): void {
  failed++;
  const text = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason);
  console.log(`FAIL ${name}: ${text.replaceAll("\n", " ").slice(0, 400)}`);
}

export async function check(
  name: string,
  run: () => Promise<void>,
  limitMs = SCENARIO_LIMIT_MS,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    const late = () => reject(new Error(`it has not ended after ${limitMs} ms`));
    timer = setTimeout(late, limitMs);
  });
  try {
    await Promise.race([run(), limit]);
    pass(name);
  } catch (error) {
    fail(name, error);
  } finally {
    clearTimeout(timer);
  }
}

/** Prints the final line. Returns true if nothing failed. */
export function summary(): boolean {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0;
}
