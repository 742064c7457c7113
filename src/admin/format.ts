// Values as ZooKeeper, being a Java program, prints them. Pure; knows nothing of what the values mean.

/**
 * A number as Java prints a double: `0.0`, `2.3453`, `1.0E7`, `5.0E-4` (scientific from 10^7 and below 10^-3), after
 * rounding to four decimals as ZooKeeper does with its averages.
 */
export function javaDouble(value: number): string {
  const rounded = Number(value.toFixed(4))
  const magnitude = Math.abs(rounded)
  if (rounded === 0) return '0.0'
  if (magnitude >= 1e-3 && magnitude < 1e7) return withFraction(String(rounded))
  const [mantissa = '', exponent = ''] = rounded.toExponential().split('e')
  return `${withFraction(mantissa)}E${Number(exponent)}`
}

function withFraction(digits: string): string {
  return digits.includes('.') ? digits : `${digits}.0`
}

/** The least of some samples as a whole number: never above the true one. ZooKeeper's clock counts whole ms. */
export function wholeMin(value: number): string {
  return String(Math.floor(value))
}

/** The greatest of some samples as a whole number: never below the true one. */
export function wholeMax(value: number): string {
  return String(Math.ceil(value))
}

/** The nearest whole number. */
export function whole(value: number): string {
  return String(Math.round(value))
}

/** A time (epoch ms) as Java's Date prints it, in UTC: `Sun Nov 22 17:25:46 UTC 2026`. */
export function javaDate(epochMs: number): string {
  const [weekday = '', day = '', month = '', year = '', time = ''] = new Date(epochMs)
    .toUTCString()
    .split(' ')
  return `${weekday.replace(',', '')} ${month} ${day} ${time} UTC ${year}`
}

/** A session id as ZooKeeper prints it: `0x10000143d85000d`. */
export function sessionId(id: number): string {
  return `0x${id.toString(16)}`
}

/** A peer's address as Java prints one without a name: `/127.0.0.1:38800`, `/[0:0:0:0:0:0:0:1]:38800`. */
export function javaAddress(address: string, port: number): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return `/${mapped}:${port}`
  return address.includes(':') ? `/[${fullIpv6(address)}]:${port}` : `/${address}:${port}`
}

/** All eight groups of an IPv6 address without leading zeros; a zone (`%eth0`) stays. */
function fullIpv6(address: string): string {
  const [groups = '', zone] = address.split('%')
  const [head = '', tail] = groups.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length
  const all = [...first, ...Array<string>(Math.max(0, zeros)).fill('0'), ...last]
  const text = all.map((group) => group.toLowerCase().replace(/^0+(?=.)/, '')).join(':')
  return zone === undefined ? text : `${text}%${zone}`
}
