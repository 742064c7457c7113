// What a client sees of a whole server on loopback: requests per second and latency of reads and writes, pipelined
// and one at a time. The server is a process of its own on a temporary directory of this disk, with its fsyncs.
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Op } from '../src/base/opcodes.ts'
import { Writer } from '../src/jute/writer.ts'

const port = Number(process.env['BENCH_PORT'] ?? 25180)
const seconds = Number(process.env['BENCH_SECONDS'] ?? 2)
const keys = 1000
const data = Buffer.alloc(100, 'x')

type Encode = (out: Writer, key: number) => void

/** Appends a framed request. */
function frame(out: Writer, xid: number, type: number, body: (out: Writer) => void): void {
  const at = out.pos
  out.int(0)
  out.int(xid)
  out.int(type)
  body(out)
  out.intAt(at, out.pos - at - 4)
}

const path = (key: number) => `/bench/k${key}`

const encodeGet: Encode = (out, key) =>
  frame(out, 1, Op.getData, (o) => {
    o.string(path(key))
    o.bool(false)
  })

const encodeSet: Encode = (out, key) =>
  frame(out, 1, Op.setData, (o) => {
    o.string(path(key))
    o.buffer(data)
    o.int(-1)
  })

const encodeCreate = (name: string): Buffer => {
  const out = new Writer(256)
  frame(out, 1, Op.create, (o) => {
    o.string(name)
    o.buffer(data)
    o.int(1)
    o.int(31)
    o.string('world')
    o.string('anyone')
    o.int(0)
  })
  return Buffer.from(out.bytes())
}

const handshake = (): Buffer => {
  const out = new Writer(64)
  const at = out.pos
  out.int(0)
  out.int(0)
  out.long(0)
  out.int(30_000)
  out.long(0)
  out.buffer(Buffer.alloc(16))
  out.bool(false)
  out.intAt(at, out.pos - at - 4)
  return Buffer.from(out.bytes())
}

/** Counts the complete frames in a stream of bytes without looking into them. */
function frameCounter(onFrames: (count: number) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    const buf = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let pos = 0
    let count = 0
    while (buf.length - pos >= 4 && buf.length - pos >= 4 + buf.readInt32BE(pos)) {
      pos += 4 + buf.readInt32BE(pos)
      count++
    }
    rest = buf.subarray(pos)
    if (count > 0) onFrames(count)
  }
}

function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    socket.once('error', reject)
    socket.once('connect', () => socket.write(handshake()))
    socket.once('data', () => resolve(socket))
    socket.once('close', () => reject(new Error('closed')))
  })
}

async function openWhenReady(): Promise<Socket> {
  const until = Date.now() + 10_000
  for (;;) {
    try {
      return await open()
    } catch (error) {
      if (Date.now() > until) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/** One connection that keeps `depth` requests in flight until told to stop; calls back with each one's latency. */
function load(socket: Socket, depth: number, encode: Encode, onDone: (ms: number) => void): void {
  const sent: number[] = []
  const out = new Writer(64 << 10)
  const send = (count: number) => {
    out.clear()
    const now = performance.now()
    for (let i = 0; i < count; i++) {
      encode(out, Math.floor(Math.random() * keys))
      sent.push(now)
    }
    socket.write(Buffer.from(out.bytes()))
  }
  socket.removeAllListeners('data')
  socket.on(
    'data',
    frameCounter((count) => {
      const now = performance.now()
      for (const at of sent.splice(0, count)) onDone(now - at)
      send(count)
    }),
  )
  send(depth)
}

async function measure(name: string, connections: number, depth: number, encode: Encode): Promise<void> {
  const sockets: Socket[] = []
  const latencies: number[] = []
  for (let i = 0; i < connections; i++) sockets.push(await open())
  for (const socket of sockets) load(socket, depth, encode, (ms) => latencies.push(ms))
  await new Promise((resolve) => setTimeout(resolve, 500))
  latencies.length = 0
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  const measured = Float64Array.from(latencies).sort()
  for (const socket of sockets) socket.destroy()
  const at = (q: number) => ((measured[Math.floor(measured.length * q)] ?? 0) * 1000).toFixed(0)
  const rate = Math.round(measured.length / seconds).toLocaleString('en')
  console.log(`${name} ${connections}x${depth}: ${rate}/s, p50 ${at(0.5)} us, p99 ${at(0.99)} us`)
}

const dir = await mkdtemp(join(process.env['BENCH_DIR'] ?? tmpdir(), 'zabd-bench-'))
const config = join(dir, 'zoo.cfg')
await writeFile(config, `dataDir=${dir}\nclientPort=${port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n`)
const bin = fileURLToPath(new URL('../../bin/zabd.js', import.meta.url))
const server = spawn(process.execPath, [bin, 'start', '--config', config, '--log-level', 'warn'], {
  stdio: 'inherit',
})
try {
  const socket = await openWhenReady()
  const created = new Promise<void>((resolve) => {
    let left = keys + 1
    socket.on(
      'data',
      frameCounter((count) => {
        left -= count
        if (left <= 0) resolve()
      }),
    )
  })
  socket.write(encodeCreate('/bench'))
  for (let key = 0; key < keys; key++) socket.write(encodeCreate(path(key)))
  await created
  for (const [name, encode] of [
    ['get', encodeGet],
    ['set', encodeSet],
  ] as const) {
    await measure(name, 10, 100, encode)
    await measure(name, 50, 1, encode)
    await measure(name, 1, 1, encode)
  }
  socket.destroy()
} finally {
  server.kill()
  await new Promise((resolve) => server.once('exit', resolve))
  await rm(dir, { recursive: true, force: true })
}
