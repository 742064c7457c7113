// Floor programs: the least that a server in Node.js could do for a request, to compare with where there is no Java.
//   node dist/bench/floor.js echo PORT   answers each frame with a reply of 100 B in the order it came, all replies to one
//                                        chunk in one write; a set is told to all other connections
//   node dist/bench/floor.js sync FILE   appends 512 B and syncs them, for a second; prints {"perSecond", "p50Us"}
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { Op } from '../src/base/opcodes.ts'
import { createHistogram, quantile, record } from '../src/client/histogram.ts'
import { Writer } from '../src/jute/writer.ts'

const bodyBytes = 100
const recordBytes = 512
const syncMs = 1000

/** What a load's connections take for a session. */
const handshake = frame((out) => {
  out.int(0)
  out.int(30_000)
  out.long(1)
  out.buffer(Buffer.alloc(16))
  out.bool(false)
})

/** A watch event. */
const event = frame((out) => {
  out.int(-1)
  out.long(-1)
  out.int(0)
  out.int(3)
  out.int(3)
  out.string('/floor')
})

const replyBody = Buffer.alloc(bodyBytes)

function frame(write: (out: Writer) => void): Buffer {
  const out = new Writer(64)
  out.int(0)
  write(out)
  out.intAt(0, out.pos - 4)
  return Buffer.from(out.bytes())
}

function echo(port: number): void {
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    let rest: Buffer | undefined
    let open = false
    const out = new Writer(4096)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
    socket.on('data', (chunk) => {
      const buf = rest === undefined ? chunk : Buffer.concat([rest, chunk])
      let at = 0
      let closes = false
      while (buf.length - at >= 4) {
        const end = at + 4 + buf.readUInt32BE(at)
        if (buf.length < end) break
        if (!open) {
          open = true
          out.raw(handshake, 0, handshake.length)
        } else {
          const op = buf.readInt32BE(at + 8)
          closes = op === Op.closeSession
          if (op === Op.setData) for (const other of sockets) if (other !== socket) other.write(event)
          out.int(16 + bodyBytes)
          out.int(buf.readInt32BE(at + 4))
          out.long(1)
          out.int(0)
          out.raw(replyBody, 0, bodyBytes)
        }
        at = end
      }
      rest = at < buf.length ? buf.subarray(at) : undefined
      if (out.pos > 0) socket.write(Buffer.from(out.bytes()))
      out.clear()
      if (closes) socket.end()
    })
  })
  server.listen({ port, host: '127.0.0.1', backlog: 511 })
}

function sync(file: string): void {
  const fd = openSync(file, 'w')
  const bytes = Buffer.alloc(recordBytes, 7)
  const latency = createHistogram()
  const startMs = performance.now()
  while (performance.now() - startMs < syncMs) {
    const fromMs = performance.now()
    writeSync(fd, bytes)
    fdatasyncSync(fd)
    record(latency, (performance.now() - fromMs) * 1000)
  }
  closeSync(fd)
  rmSync(file)
  const perSecond = (latency.count / (performance.now() - startMs)) * 1000
  console.log(JSON.stringify({ perSecond, p50Us: quantile(latency, 0.5), p99Us: quantile(latency, 0.99) }))
}

const [mode, argument] = process.argv.slice(2)
if (mode === 'echo') echo(Number(argument))
else if (mode === 'sync' && argument !== undefined) sync(argument)
else {
  console.error('usage: node dist/bench/floor.js echo PORT | sync FILE')
  process.exitCode = 2
}
