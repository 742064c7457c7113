import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatServer, parseServer, parseServerId, sharedIdByte } from '../../src/config/members.ts'
import type { ServerSpec } from '../../src/config/types.ts'

const plain: ServerSpec = {
  id: 1,
  host: 'h',
  peerPort: 2888,
  electionPort: 3888,
  observer: false,
  clientHost: undefined,
  clientPort: undefined,
}

const valid: readonly (readonly [text: string, expected: Partial<ServerSpec>])[] = [
  ['  h:2888:3888 ', {}],
  ['h:2888:3888:participant', {}],
  ['h:2888:3888:OBSERVER', { observer: true }],
  ['h:2888:3888;2181', { clientHost: '0.0.0.0', clientPort: 2181 }],
  ['h:2888:3888:participant;10.0.0.1:2181', { clientHost: '10.0.0.1', clientPort: 2181 }],
  ['h:2888:3888:observer;[::1]:2181', { observer: true, clientHost: '::1', clientPort: 2181 }],
  ['[2001:db8::1]:2888:3888', { host: '2001:db8::1' }],
  ['zk-0.zk_headless.default.svc:2888:3888', { host: 'zk-0.zk_headless.default.svc' }],
  ['h:2888', { electionPort: 0 }],
  ['h:2888:0', { electionPort: 0 }],
  ['h:2888:observer', { electionPort: 0, observer: true }],
  ['[::1]:2888;2181', { host: '::1', electionPort: 0, clientHost: '0.0.0.0', clientPort: 2181 }],
]

for (const [text, expected] of valid) {
  test(`a server line is read: ${text.trim()}`, () => {
    assert.deepEqual(parseServer(1, text), { ...plain, ...expected })
  })
}

const invalid: readonly (readonly [text: string, expected: string])[] = [
  ['h', 'there is no peer port'],
  ['', '"" is not a host name or address'],
  ['ho st:1:2', '"ho st" is not a host name or address'],
  ['h:x:3888', 'the peer port "x" is not a port number'],
  ['h:0:3888', 'the peer port "0" is not a port number'],
  ['h:2888:70000', 'the election port "70000" is not a port number'],
  ['h:2888:2888', 'the peer port and the election port are the same'],
  ['h:2888:3888:leader', '"leader" is not participant or observer'],
  ['h:2888:3888:observer:x', 'there are too many parts (an IPv6 address belongs in brackets)'],
  ['2001:db8::1:2888:3888', 'there are too many parts (an IPv6 address belongs in brackets)'],
  ['[zz]:2888:3888', '"[zz]:2888:3888" does not begin with an IPv6 address in brackets'],
  ['[::1]2888:3888', 'there is no ":" after the address in brackets'],
  ['a:2888:3888|b:2888:3888', 'several addresses for one server (multiAddress) are not supported'],
  ['h:2888:3888;x', '"x" is not [clientHost:]clientPort'],
  ['h:2888:3888;a:b:c', '"a:b:c" is not [clientHost:]clientPort'],
  ['h:2888:3888;a:99999', 'the client port "99999" is not a port number'],
  ['h:2888:3888;1;2', 'there is more than one ";"'],
]

for (const [text, expected] of invalid) {
  test(`a server line is refused: ${JSON.stringify(text)}`, () => {
    assert.equal(parseServer(1, text), expected)
  })
}

test('a server line that was written is read back as the same server', () => {
  const port = fc.integer({ min: 1, max: 65535 })
  const host = fc.constantFrom('h', 'zk-1.example.org', '10.0.0.1', '::1', '2001:db8::1')
  const client = fc.option(fc.record({ clientHost: host, clientPort: port }), { nil: undefined })
  const server = fc
    .record({
      host,
      peerPort: port,
      electionPort: fc.option(port, { nil: 0 }),
      observer: fc.boolean(),
      client,
    })
    .filter(({ peerPort, electionPort }) => peerPort !== electionPort)
    .map(({ client: address, ...rest }): ServerSpec => ({ ...plain, ...rest, ...address }))
  fc.assert(fc.property(server, (spec) => assert.deepEqual(parseServer(1, formatServer(spec)), spec)))
})

test('a server is written as ZooKeeper shows it', () => {
  const full = { ...plain, host: '::1', observer: true, clientHost: '10.0.0.1', clientPort: 2181 }
  assert.equal(formatServer(full), '[::1]:2888:3888:observer;10.0.0.1:2181')
  assert.equal(formatServer(plain), 'h:2888:3888:participant')
  assert.equal(formatServer({ ...plain, electionPort: 0 }), 'h:2888:0:participant')
})

test('a server id is a whole number, 0 to 999999999', () => {
  const texts = ['0', '1', '256', '999999999', '1000000000', '-1', '1.5', 'x', '', '1e2', '007']
  const ids = [0, 1, 256, 999_999_999, undefined, undefined, undefined, undefined, undefined, undefined, 7]
  assert.deepEqual(texts.map(parseServerId), ids)
})

test('ids with the same low byte are found: they would make the same session ids', () => {
  assert.equal(sharedIdByte([0, 1, 2, 255]), undefined)
  assert.equal(sharedIdByte([1, 300]), undefined)
  assert.deepEqual(sharedIdByte([1, 2, 257]), [1, 257])
})
