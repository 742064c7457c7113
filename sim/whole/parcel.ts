// How messages between servers become bytes and come back, by the codec of src/peers: nothing that one server keeps is
// shared with another.
import { FrameReader } from '../../src/peers/codec.ts'
import { FrameWriter } from '../../src/peers/encode.ts'
import type { PeerMessage } from '../../src/peers/messages.ts'

const frames: Buffer[] = []
/** Serves all servers, one after another. */
const writer = new FrameWriter((pieces) => frames.push(Buffer.concat(pieces)) > 0)

/** Messages of one turn as they travel. */
export function encodeMessages(messages: readonly PeerMessage[]): Buffer {
  for (const message of messages) writer.add(message)
  writer.flush()
  return Buffer.concat(frames.splice(0))
}

/** Hands out the messages of `bytes`, in order. */
export function decodeMessages(bytes: Buffer, each: (message: PeerMessage) => void): void {
  new FrameReader().push(bytes, (message) => {
    each(message)
    return true
  })
}
