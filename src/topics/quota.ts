/** What a record counts for in addition to its data and its producer: its columns, and its entries in indexes (approximate). */
const RECORD_BYTES = 128;

/** Returns what a record counts for before it is stored. */
export function sizeInQuota(data: Uint8Array, producer: string | null | undefined): number {
  return RECORD_BYTES + data.length + (producer?.length ?? 0);
}

/**
 * Returns the texts of an append that `maxBytes` refuses.
 *
 * @param where the log, for its operator
 */
export function overQuota(
  where: string,
  usedBytes: number,
  maxBytes: number,
): { forClients: string; forOperator: string } {
  const [used, max] = [inUnits(Math.min(usedBytes, maxBytes)), inUnits(maxBytes)];
  return {
    forClients: `the server's log has ${used} of ${max} (maxBytes): nothing was stored; send it again when older records were dropped`,
    forOperator: `${where} is full at ${max} (maxBytes): nothing more is stored until records are dropped; let retention keep less, or raise maxBytes`,
  };
}

const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** Writes a size with three digits at most: "1 GB", "12.5 MB". */
function inUnits(bytes: number): string {
  let [size, unit] = [bytes, 0];
  for (; size >= 999.5 && unit < UNITS.length - 1; unit++) size /= 1000;
  return `${Number(size.toPrecision(3))} ${UNITS[unit]}`;
}
