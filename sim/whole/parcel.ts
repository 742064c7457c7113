// How messages between servers become bytes and come back, by the codec of src/peers: nothing that one server keeps is
// shared with another.
import { FrameReader } from '../../src/peers/codec.ts'
import { FrameWriter } from '../../src/peers/encode.ts'
import type { PeerMessage } from '../../src/peers/messages.ts'

/** Messages of one turn as they travel. */
export function encodeMessages(messages: readonly PeerMessage[]): Buffer {
  const all: Uint8Array[] = []
  const writer = new FrameWriter((pieces) => {
    all.push(...pieces)
    return false
  })
  for (const message of messages) writer.add(message)
  writer.flush()
  return Buffer.concat(all)
}

/** Hands out the messages of `bytes`, in order. */
export function decodeMessages(bytes: Buffer, each: (message: PeerMessage) => void): void {
  new FrameReader().push(bytes, (message) => {
    each(message)
    return true
  })
}
