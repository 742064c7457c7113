// The DataViews of the bytes that are being looked at. Requests of a chunk, or transactions of an entry, are decoded and copied
// one after another, from the same bytes and from the path that is taken apart: remembering two views spares making
// others for each, which takes as long as copying a hundred bytes.

let newer: Uint8Array | undefined
let newerView: DataView | undefined
let older: Uint8Array | undefined
let olderView: DataView | undefined

/** A view of all of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  const known = knownViewOf(bytes)
  if (known !== undefined) return known
  older = newer
  olderView = newerView
  newer = bytes
  newerView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return newerView
}

/** The view, if these bytes are one of the two that `viewOf` was asked for last. */
export function knownViewOf(bytes: Uint8Array): DataView | undefined {
  if (bytes === newer) return newerView
  return bytes === older ? olderView : undefined
}
