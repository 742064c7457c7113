// Loopback ports for servers that are about to start, and waiting for one to answer.
// INTEROP_PORTS=FIRST-LAST narrows the range. Kernel-chosen ports are not used: a client that dials such a port
// before the server listens can be connected to itself.

import { connect, createServer } from 'node:net'

const DEFAULT_RANGE = '21000-30999'

const { INTEROP_PORTS = DEFAULT_RANGE } = process.env
const [first, last] = parseRange(INTEROP_PORTS)
// Runs side by side begin at different places.
let next = first + ((process.pid * 37) % (last - first + 1))

function parseRange(text: string): [number, number] {
  const match = /^(\d+)-(\d+)$/.exec(text)
  const range: [number, number] = [Number(match?.[1]), Number(match?.[2])]
  if (!match || range[0] < 1 || range[1] > 65535 || range[0] > range[1]) {
    throw new Error(`INTEROP_PORTS must be FIRST-LAST, not '${text}'`)
  }
  return range
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

/** A loopback port that nobody listens on and that this run has not handed out lately. */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried <= last - first; tried++) {
    const port = next
    next = next === last ? first : next + 1
    if (await isFree(port)) return port
  }
  throw new Error(`no free port in ${first}-${last}`)
}

/** Sends a four-letter word and returns the whole answer; rejects if the server is not there. */
export function fourLetterWord(port: number, word: string, timeoutMs = 2000): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(word))
    socket.setEncoding('utf8')
    socket.setTimeout(timeoutMs, () =>
      socket.destroy(new Error(`no answer to ${word} within ${timeoutMs} ms`)),
    )
    socket.on('data', (text: string) => {
      answer += text
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(answer))
  })
}

/** Resolves after this many milliseconds. Only for polling and for time that the test is about. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/**
 * Asks again and again until `probe` returns something other than undefined.
 * Throws after `limitMs`, with the last error of the probe if there was one.
 */
export async function until<T>(
  what: string,
  limitMs: number,
  probe: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const deadline = performance.now() + limitMs
  let reason = ''
  for (;;) {
    try {
      const found = await probe()
      if (found !== undefined) return found
    } catch (error) {
      reason = `: ${error instanceof Error ? error.message : error}`
    }
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${limitMs} ms${reason}`)
    await pause(50)
  }
}
