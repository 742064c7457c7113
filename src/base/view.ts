// The DataView of the bytes that are being looked at. Requests of a chunk are decoded and copied one after another, so that
// remembering one view spares making another for each: that takes as long as copying a hundred bytes.

let known: Uint8Array | undefined
let knownView: DataView | undefined

/** A view of all of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  if (known !== bytes || knownView === undefined) {
    known = bytes
    knownView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
  return knownView
}

/** The view, if these are the bytes that `viewOf` was asked for last. */
export function knownViewOf(bytes: Uint8Array): DataView | undefined {
  return known === bytes ? knownView : undefined
}
