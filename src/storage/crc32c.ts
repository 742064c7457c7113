// CRC-32C, with which LevelDB guards its blocks and records; zlib has the other polynomial only. It is WebAssembly, made here
// byte by byte: a start checks a hundred MiB, the first of them before V8 has compiled any loop in JavaScript. Measured on
// Node.js 20, the bytes' way into the module's memory included: 0.26 ns per byte, the first MiB 0.8; in JavaScript 0.38 and 4.2.
// That way is spared where files are read into the module's memory.
import { crcTables } from '../base/crc32.ts'

/** Of JavaScript's own, as far as it is used here: its types are with those of browsers. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
  ) => {
    readonly exports: { readonly memory: { readonly buffer: ArrayBuffer }; readonly take: Made['take'] }
  }
}

/** CRC-32C (Castagnoli) of `buf[start, end)`. */
export function crc32c(buf: Buffer, start: number, end: number): number {
  made ??= make()
  const { memory, tables, take } = made
  let crc = -1
  let at = start
  if (buf.buffer === memory.buffer && end - at >= stepBytes) {
    at = end - ((end - at) % stepBytes)
    crc = take(buf.byteOffset + start, buf.byteOffset + at, crc)
  }
  while (end - at >= stepBytes) {
    const length = Math.min(end - at, roomBytes) & -stepBytes
    memory.set(buf.subarray(at, at + length), tableBytes)
    crc = take(tableBytes, tableBytes + length, crc)
    at += length
  }
  for (; at < end; at++) crc = tables[(crc ^ buf[at]!) & 255]! ^ (crc >>> 8)
  return ~crc >>> 0
}

/** Memory for what is to be checked: `checkedRooms` pieces of `checkedBytes`, whose bytes need not be copied for it. */
export function roomsForChecks(): Buffer[] {
  made ??= make()
  const { buffer } = made.memory
  return Array.from({ length: checkedRooms }, (_, i) =>
    Buffer.from(buffer, roomsAt + i * checkedBytes, checkedBytes),
  )
}

/** The checksum as LevelDB stores it: masked, so that a checksum of bytes which contain one is none of itself. */
export function maskedCrc32c(buf: Buffer, start: number, end: number): number {
  const crc = crc32c(buf, start, end)
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

/** 16 tables take 16 bytes a step; they stand at the beginning of the module's memory. */
const stepBytes = 16
const tableBytes = stepBytes * 1024
/** Behind them: what is given to the module at a time. It stays in the processor's fastest cache, with the tables. */
const roomBytes = 16 << 10
/** Then what is given to others. */
const roomsAt = tableBytes + roomBytes
const checkedRooms = 2
/** Of each. */
export const checkedBytes: number = 256 << 10
const pageBytes = 64 << 10

/** Opcodes of WebAssembly, and what else its binary format is made of. */
const wasm = {
  header: [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  section: { types: 1, functions: 3, memories: 5, exports: 7, code: 10 },
  functionType: 0x60,
  i32: 0x7f,
  exported: { function: 0, memory: 2 },
  noMaximum: 0,
  noResult: 0x40,
  loop: 0x03,
  end: 0x0b,
  branchIf: 0x0d,
  get: 0x20,
  set: 0x21,
  tee: 0x22,
  load: 0x28,
  constant: 0x41,
  isBelow: 0x49,
  add: 0x6a,
  and: 0x71,
  xor: 0x73,
  shiftLeft: 0x74,
  shiftRight: 0x76,
} as const

/** Its variables: the parameters, then the four words of a step. */
const at = 0
const end = 1
const crc = 2
const word = [3, 4, 5, 6] as const

/** An i32.const; `value` is not negative. */
function constant(value: number): number[] {
  return [wasm.constant, ...(value < 64 ? [value] : [(value & 127) | 128, ...leb128(value >>> 7)])]
}

/** An unsigned number; as a signed one it is the same where its last seven bits are below 64. */
function leb128(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb128(value >>> 7)]
}

function list(items: readonly (readonly number[])[]): number[] {
  return [...leb128(items.length), ...items.flat()]
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...leb128(content.length), ...content]
}

function name(text: string): number[] {
  return list([...Buffer.from(text)].map((byte) => [byte]))
}

/** What byte `index` of a step does, which is in `word[index >>> 2]`: the table is that of so many bytes as follow it. */
function lookUp(index: number): number[] {
  const shift = 8 * (index & 3) - 2
  return [
    ...[wasm.get, word[index >>> 2]!],
    // Four times the byte.
    ...(shift < 0 ? [...constant(-shift), wasm.shiftLeft] : [...constant(shift), wasm.shiftRight]),
    ...[...constant(255 * 4), wasm.and],
    ...[wasm.load, 2, ...leb128((stepBytes - 1 - index) * 1024)],
  ]
}

/** `take(at, end, crc)`: the running CRC with the bytes between, at least one step of them and nothing but whole ones. */
function takeSteps(): number[] {
  const loadWord = (i: number) => [wasm.get, at, wasm.load, 0, 4 * i]
  // What depends on the step before comes last, so that the processor has done the rest by then.
  const order = [12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3]
  return [
    ...[wasm.loop, wasm.noResult],
    ...[...loadWord(0), wasm.get, crc, wasm.xor, wasm.set, word[0]],
    ...[1, 2, 3].flatMap((i) => [...loadWord(i), wasm.set, word[i]!]),
    ...order.flatMap((index, i) => (i === 0 ? lookUp(index) : [...lookUp(index), wasm.xor])),
    ...[wasm.set, crc],
    ...[wasm.get, at, ...constant(stepBytes), wasm.add, wasm.tee, at],
    ...[wasm.get, end, wasm.isBelow, wasm.branchIf, 0],
    ...[wasm.end, wasm.get, crc, wasm.end],
  ]
}

function moduleBytes(): Uint8Array {
  const { i32 } = wasm
  const body = [...list([[word.length, i32]]), ...takeSteps()]
  const pages = Math.ceil((roomsAt + checkedRooms * checkedBytes) / pageBytes)
  const { types, functions, memories, exports, code } = wasm.section
  return Uint8Array.from([
    ...wasm.header,
    ...section(types, list([[wasm.functionType, ...list([[i32], [i32], [i32]]), ...list([[i32]])]])),
    ...section(functions, list([[0]])),
    ...section(memories, list([[wasm.noMaximum, pages]])),
    ...section(
      exports,
      list([
        [...name('memory'), wasm.exported.memory, 0],
        [...name('take'), wasm.exported.function, 0],
      ]),
    ),
    ...section(code, list([[...leb128(body.length), ...body]])),
  ])
}

/** What there is of the module once the first checksum was asked for. */
let made: Made | undefined

type Made = {
  readonly memory: Uint8Array
  /** At its beginning. */
  readonly tables: Int32Array
  readonly take: (at: number, end: number, crc: number) => number
}

function make(): Made {
  const { memory, take } = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes())).exports
  const tables = new Int32Array(memory.buffer)
  tables.set(crcTables(0x82f63b78, stepBytes))
  return { memory: new Uint8Array(memory.buffer), tables, take }
}
