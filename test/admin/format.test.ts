import assert from 'node:assert/strict'
import test from 'node:test'
import { javaAddress, javaDate, javaDouble, sessionId, wholeMax, wholeMin } from '../../src/admin/format.ts'

// The right-hand sides of doubles were printed by Java (Double.toString of the value rounded as in AvgMinMaxCounter).
const doubles: [number, string][] = [
  [0, '0.0'],
  [-0, '0.0'],
  [1, '1.0'],
  [25, '25.0'],
  [2.34531, '2.3453'],
  [2.34535, '2.3453'],
  [30.333333333333332, '30.3333'],
  [0.5, '0.5'],
  [0.00004, '0.0'],
  [0.0005, '5.0E-4'],
  [0.00016, '2.0E-4'],
  [0.001, '0.001'],
  [1234567.89, '1234567.89'],
  [9999999, '9999999.0'],
  [10000000, '1.0E7'],
  [123456789.5, '1.234567895E8'],
]

for (const [value, text] of doubles) {
  test(`an average of ${value} prints as ${text}`, () => {
    assert.equal(javaDouble(value), text)
  })
}

test('whole extremes enclose the true ones', () => {
  assert.deepEqual([wholeMin(0.9), wholeMax(0.1), wholeMin(7), wholeMax(7)], ['0', '1', '7', '7'])
})

test('a date has the form of java.util.Date, in UTC', () => {
  assert.equal(javaDate(Date.UTC(2026, 10, 22, 17, 25, 46, 999)), 'Sun Nov 22 17:25:46 UTC 2026')
  assert.equal(javaDate(Date.UTC(2027, 0, 4, 3, 5, 6)), 'Mon Jan 04 03:05:06 UTC 2027')
})

test('a session id is printed in hexadecimal', () => {
  assert.equal(sessionId(0x10000143d85000), '0x10000143d85000')
  assert.equal(sessionId(0), '0x0')
})

const addresses: [string, string][] = [
  ['127.0.0.1', '/127.0.0.1:2181'],
  ['::ffff:10.1.2.3', '/10.1.2.3:2181'],
  ['::1', '/[0:0:0:0:0:0:0:1]:2181'],
  ['::', '/[0:0:0:0:0:0:0:0]:2181'],
  ['2001:DB8::0a0:1', '/[2001:db8:0:0:0:0:a0:1]:2181'],
  ['fe80::1%eth0', '/[fe80:0:0:0:0:0:0:1%eth0]:2181'],
  ['1:2:3:4:5:6:7:8', '/[1:2:3:4:5:6:7:8]:2181'],
]

for (const [address, text] of addresses) {
  test(`the peer ${address} prints as ${text}`, () => {
    assert.equal(javaAddress(address, 2181), text)
  })
}
