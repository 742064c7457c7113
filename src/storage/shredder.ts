// Frees the memory of buffers at once. V8 frees what lies outside of its heap at a collection that it does not expect to be
// worthwhile while the heap itself is small: of a start that reads 140 MiB in buffers some 20 MiB were left over, in
// gaps between what stays, and reading went through fresh memory instead of through the same again.
import { MessageChannel, type MessagePort } from 'node:worker_threads'

/** Smaller ones may be parts of a pool, and are not worth it. */
const bytesMin = 16 << 10

/** See file header. */
export class Shredder {
  /** What is sent to a port that is closed takes its memory along. */
  readonly #nowhere: MessagePort

  constructor() {
    const { port1, port2 } = new MessageChannel()
    port2.close()
    this.#nowhere = port1
  }

  /** Frees what `bytes` alone uses; it has no bytes then, nor has any view of them. */
  free(bytes: Uint8Array): void {
    const { buffer, byteLength } = bytes
    if (byteLength < bytesMin || byteLength < buffer.byteLength || !(buffer instanceof ArrayBuffer)) return
    this.#nowhere.postMessage(undefined, [buffer])
  }
}
