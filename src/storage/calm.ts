// When there is time to make tables of what is appended to a log: while little is. Reads no clock.

/** So much is worth a table. */
export const tableBytes = 4 << 20
/** Where fewer bytes are appended per ms, for so many ms, the disk has time for a table beside them. */
const calmBytesPerMs = 8 << 10
const calmMs = 500

/** Whether it is time to make tables of `untabled` bytes, when `recent` ones of them were appended within `ms`. */
export function isTimeForTables(untabled: number, recent: number, ms: number): boolean {
  return untabled >= tableBytes && ms >= calmMs && recent <= ms * calmBytesPerMs
}
