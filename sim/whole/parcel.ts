// How messages between servers become bytes and come back, by the codec of src/peers: nothing that one server keeps is
// shared with another.
import { encodeFrames, FrameReader } from '../../src/peers/codec.ts'
import type { PeerMessage } from '../../src/peers/messages.ts'

/** Messages of one turn as they travel. */
export function encodeMessages(messages: readonly PeerMessage[]): Buffer {
  return Buffer.concat([...encodeFrames(messages)].flat())
}

/** Hands out the messages of `bytes`, in order. */
export function decodeMessages(bytes: Buffer, each: (message: PeerMessage) => void): void {
  new FrameReader().push(bytes, (message) => {
    each(message)
    return true
  })
}
