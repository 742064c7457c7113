// The records of a checkpoint as the files of its database have them while nobody has that open: for whoever reads them at a
// start, this thread or another one. It opens nothing and changes nothing.
import { type Scannable, scan, scannable } from './scan.ts'
import type { CheckpointFiles } from './types.ts'

/** Who reads tells how far it is after so many. */
export const recordsPerProgress = 256

/** Which of the records in a database belong to the checkpoint. */
type Range = Pick<CheckpointFiles, 'generation' | 'end'>

/**
 * Calls `each` with every record in the order of the keys, with views that are valid during the call, and checks all files on
 * the way. Rejects with StorageError, or with what `each` throws.
 */
export async function readFiles(
  files: CheckpointFiles,
  each: (key: Uint8Array, value: Uint8Array) => void,
): Promise<void> {
  await readRecords(await scannable(files.dir), files, each)
}

/** The same with files of which the manifest was read. */
export async function readRecords(
  files: Scannable,
  { generation, end }: Range,
  each: (key: Uint8Array, value: Uint8Array) => void,
): Promise<void> {
  await scan(files, (key, value) => {
    if (key[0] === generation && Buffer.compare(key.subarray(1), end) <= 0) each(key.subarray(1), value)
  })
}
