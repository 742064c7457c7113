// What a znode path may be (semantics.md section 1), decided on UTF-8 bytes where they lie.

const slash = 0x2f
const dot = 0x2e

/**
 * Longest path in UTF-8 bytes. ZooKeeper has no limit but that of a request; here a path and one byte are the key of a
 * checkpoint's record (storage/types.ts).
 */
export const pathBytesMax = 65_534

/** Why a path is refused, or undefined if it is valid. Follows ZooKeeper's PathUtils.validatePath. */
export function pathProblem(buf: Uint8Array, start: number, end: number): string | undefined {
  if (start === end) return 'the path is empty'
  if (end - start > pathBytesMax) return `the path is longer than ${pathBytesMax} bytes`
  if (buf[start] !== slash) return 'the path does not start with /'
  if (end - start === 1) return undefined
  if (buf[end - 1] === slash) return 'the path ends with /'
  let component = start + 1
  for (let i = start + 1; i <= end; i++) {
    const c = i === end ? slash : (buf[i] as number)
    if (c === slash) {
      const length = i - component
      if (length === 0) return 'the path has an empty component'
      if (buf[component] === dot && (length === 1 || (length === 2 && buf[component + 1] === dot)))
        return 'the path has a component . or ..'
      component = i + 1
    } else if (c < 0x20 || c === 0x7f) {
      return `the path has a control character (byte ${c})`
    } else if (c >= 0x80) {
      return wideProblem(buf, start, end)
    }
  }
  return undefined
}

/** The same for paths with characters beyond ASCII: these are judged as UTF-16 units, as ZooKeeper does. */
function wideProblem(buf: Uint8Array, start: number, end: number): string | undefined {
  const path = Buffer.from(buf.buffer, buf.byteOffset + start, end - start).toString('utf8')
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i)
    if (c <= 0x1f || (c >= 0x7f && c <= 0x9f) || (c >= 0xd800 && c <= 0xf8ff) || c >= 0xfff0)
      return `the path has the invalid character U+${c.toString(16).padStart(4, '0')}`
  }
  const component = path.slice(1).split('/')
  if (component.includes('')) return 'the path has an empty component'
  if (component.includes('.') || component.includes('..')) return 'the path has a component . or ..'
  return undefined
}

/** Offset of the last slash in `buf[start, end)`, -1 if there is none. */
export function lastSlash(buf: Uint8Array, start: number, end: number): number {
  for (let i = end - 1; i >= start; i--) if (buf[i] === slash) return i
  return -1
}

/** Whether `buf[start, end)` contains a NUL byte. */
export function hasNul(buf: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (buf[i] === 0) return true
  return false
}
