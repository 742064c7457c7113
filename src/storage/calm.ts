// When there is time to make tables of what is appended to a log: while little is. Reads no clock.

/** So much is worth a table. */
export const tableBytes = 4 << 20
/** How often it is looked at, ms. */
export const calmMs = 500
/** Where no more is appended from one look to the next, the disk has time for a table beside it. */
export const calmBytes = 4 << 20

/** Whether it is time to make tables of `untabled` bytes, when `recent` bytes were appended since it was looked at before. */
export function isTimeForTables(untabled: number, recent: number): boolean {
  return untabled >= tableBytes && recent <= calmBytes
}
