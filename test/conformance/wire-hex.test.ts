// Exact bytes, as captured from a real server (wire.md 8): what is sent, and every byte of what comes back. Only zxids,
// times, session ids and passwords are filled in from the run.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { frame, ok, type RawClient } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

// Sessions of cut connections must not expire meanwhile: their zxids would be counted.
const zk = sharedServer({ tickTime: 2000, maxSessionTimeout: 300_000 })

/** Hex with spaces, and `{name}` for a 64-bit value. */
function hex(template: string, values: Readonly<Record<string, bigint>> = {}): string {
  return template
    .replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = values[name]
      assert.ok(value !== undefined, `no value for ${name}`)
      return BigInt.asUintN(64, value).toString(16).padStart(16, '0')
    })
    .replace(/\s/g, '')
}

function bytes(template: string): Buffer {
  return Buffer.from(hex(template), 'hex')
}

/** A received payload with its length prefix. */
function framed(raw: Buffer): string {
  return frame(raw).toString('hex')
}

async function dialHandshake(request: string): Promise<RawClient> {
  const client = await zk.dial()
  await client.handshakeTail(bytes(request), request.endsWith(' 00'))
  return client
}

const newSession =
  '0000002d 00000000 0000000000000000 00002710 0000000000000000 00000010 00000000000000000000000000000000 00'

function passwdHex(client: RawClient): string {
  return client.session.passwd.toString('hex')
}

test('connect: new session, timeout 10000, readOnly byte 0', async () => {
  const client = await dialHandshake(newSession)
  const { sessionId, raw } = client.session
  assert.equal(
    framed(raw),
    hex(`00000025 00000000 00002710 {id} 00000010 ${passwdHex(client)} 00`, { id: sessionId }),
  )
})

test('connect: a request without the readOnly byte', async () => {
  const client = await zk.dial()
  const request =
    '0000002c 00000000 0000000000000000 00002710 0000000000000000 00000010 00000000000000000000000000000000'
  const { sessionId, raw } = await client.handshakeTail(bytes(request), false)
  assert.equal(
    framed(raw),
    hex(`00000024 00000000 00002710 {id} 00000010 ${passwdHex(client)}`, { id: sessionId }),
  )
})

test('connect: an unknown session', async () => {
  const client = await dialHandshake(
    '0000002d 00000000 0000000000000000 00002710 0000000000001234 00000010 00000000000000000000000000000000 00',
  )
  assert.equal(
    framed(client.session.raw),
    hex('00000025 00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000 00'),
  )
  await client.closed()
})

describe('one session after another reads and writes /a', () => {
  let z = 0n
  before(async () => {
    const client = await zk.connect()
    const reply = await client.requestRaw(
      bytes(
        '00000033 00000001 00000001 00000002 2f61 00000002 6869 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00000000',
      ),
      { xid: 1 },
    )
    z = reply.zxid
    assert.equal(framed(reply.raw), hex('00000016 00000001 {z} 00000000 00000002 2f61', { z }))
  })

  test('create /a "hi" world:anyone:31 flags 0 on a second client: NodeExists', async () => {
    const client = await zk.connect()
    const reply = await client.requestRaw(
      bytes(
        '00000033 00000001 00000001 00000002 2f61 00000002 6869 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00000000',
      ),
      { xid: 1 },
    )
    assert.equal(framed(reply.raw), hex('00000010 00000001 {z} ffffff92', { z: reply.zxid }))
    assert.ok(reply.zxid > z)
  })

  test('getData /a watch=1, then setData: reply, event and reply', async () => {
    const client = await zk.connect()
    const read = await client.requestRaw(bytes('0000000f 00000002 00000004 00000002 2f61 01'), { xid: 2 })
    const ctime = read.body.readBigInt64BE(6 + 16)
    assert.ok(ctime > 1_600_000_000_000n)
    assert.equal(
      framed(read.raw),
      hex(
        `0000005a 00000002 {now} 00000000 00000002 6869 {z} {z} {ctime} {ctime}
        00000000 00000000 00000000 0000000000000000 00000002 00000000 {z}`,
        { now: read.zxid, z, ctime },
      ),
    )
    const write = await client.requestRaw(
      bytes('00000017 00000003 00000005 00000002 2f61 00000001 78 ffffffff'),
      {
        xid: 3,
      },
    )
    const event = client.takeEvents()[0]
    assert.ok(event !== undefined)
    assert.equal(
      framed(event.raw),
      hex('0000001e ffffffff {zxid} 00000000 00000003 00000003 00000002 2f61', { zxid: write.zxid }),
    )
    const mtime = write.body.readBigInt64BE(24)
    assert.equal(
      framed(write.raw),
      hex(
        `00000054 00000003 {zxid} 00000000 {z} {zxid} {ctime} {mtime}
        00000001 00000000 00000000 0000000000000000 00000001 00000000 {z}`,
        { zxid: write.zxid, z, ctime, mtime },
      ),
    )
  })

  test('the event of a setWatches replay has zxid -1', async () => {
    const client = await zk.connect()
    await ok(client.setWatches(0n, { data: ['/a'] }))
    const event = client.takeEvents()[0]
    assert.ok(event !== undefined)
    assert.equal(
      framed(event.raw),
      hex('0000001e ffffffff ffffffffffffffff 00000000 00000003 00000003 00000002 2f61'),
    )
  })

  test('exists /nope: NoNode', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const reply = await client.requestRaw(bytes('00000012 00000003 00000003 00000005 2f6e6f7065 00'), {
      xid: 3,
    })
    assert.equal(framed(reply.raw), hex('00000010 00000003 {zxid} ffffff9b', { zxid }))
  })

  test('ping', async () => {
    const client = await zk.connect()
    const { zxid } = await client.exists('/')
    const reply = await client.requestRaw(bytes('00000008 fffffffe 0000000b'), { xid: -2 })
    assert.equal(framed(reply.raw), hex('00000010 fffffffe {zxid} 00000000', { zxid }))
  })

  test('setData /a "x" version 7: BadVersion, with a zxid of its own', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const reply = await client.requestRaw(
      bytes('00000017 00000006 00000005 00000002 2f61 00000001 78 00000007'),
      {
        xid: 6,
      },
    )
    assert.equal(framed(reply.raw), hex('00000010 00000006 {zxid} ffffff99', { zxid: zxid + 1n }))
  })

  test('sync /', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const reply = await client.requestRaw(bytes('0000000d 00000007 00000009 00000001 2f'), { xid: 7 })
    assert.equal(framed(reply.raw), hex('00000015 00000007 {zxid} 00000000 00000001 2f', { zxid }))
  })

  test('auth digest "u:p" and whoAmI', async () => {
    const client = await zk.connect()
    const auth = await client.requestRaw(
      bytes('0000001d fffffffc 00000064 00000000 00000006 646967657374 00000003 753a70'),
      { xid: -4, outOfOrder: true },
    )
    assert.equal(framed(auth.raw), hex('00000010 fffffffc 0000000000000000 00000000'))
    const who = await client.requestRaw(bytes('00000008 00000008 0000006b'), { xid: 8 })
    const ip = '00000002 6970 00000009 3132372e302e302e31'
    const digest = '00000006 646967657374 00000001 75'
    const head = hex('00000036 00000008 {zxid} 00000000 00000002', { zxid: who.zxid })
    const got = framed(who.raw)
    // The order of a connection's ids is not specified.
    assert.ok([head + hex(ip + digest), head + hex(digest + ip)].includes(got), got)
  })

  test('auth with an unknown scheme: -115, then close', async () => {
    const client = await zk.connect()
    const reply = await client.requestRaw(
      bytes('0000001d fffffffc 00000064 00000000 00000006 6e6f73756368 00000003 753a70'),
      { xid: -4, outOfOrder: true },
    )
    assert.equal(framed(reply.raw), hex('00000010 fffffffc 0000000000000000 ffffff8d'))
    await client.closed()
  })

  test('multi create /m, check /a v99, delete /m: results 0, -103, -2', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const reply = await client.requestRaw(
      bytes(
        `0000006a 0000000b 0000000e 00000001 00 ffffffff 00000002 2f6d 00000001 31 00000001 0000001f 00000005 776f726c64
        00000006 616e796f6e65 00000000 0000000d 00 ffffffff 00000002 2f61 00000063 00000002 00 ffffffff 00000002 2f6d
        ffffffff ffffffff 01 ffffffff`,
      ),
      { xid: 11 },
    )
    assert.equal(
      framed(reply.raw),
      hex(
        `00000040 0000000b {zxid} 00000000 ffffffff 00 00000000 00000000 ffffffff 00 ffffff99 ffffff99
        ffffffff 00 fffffffe fffffffe ffffffff 01 ffffffff`,
        { zxid: zxid + 1n },
      ),
    )
  })

  test('multi create /m2, setData /m2, check /m2, create2 /m2/c, delete /m2/c: every kind of result', async () => {
    const client = await zk.connect()
    const acl = '00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65'
    const parts = `0000000e 0000000e
        00000001 00 ffffffff 00000003 2f6d32 00000001 31 ${acl} 00000000
        00000005 00 ffffffff 00000003 2f6d32 00000002 3232 00000000
        0000000d 00 ffffffff 00000003 2f6d32 00000001
        0000000f 00 ffffffff 00000005 2f6d322f63 ffffffff ${acl} 00000000
        00000002 00 ffffffff 00000005 2f6d322f63 00000000
        ffffffff 01 ffffffff`
    const payload = bytes(parts)
    const reply = await client.requestRaw(frame(payload), { xid: 14 })
    const time = reply.body.readBigInt64BE(9 + 7 + 9 + 16)
    const now = BigInt(Date.now())
    assert.ok(time > now - 3_600_000n && time < now + 3_600_000n)
    assert.equal(
      reply.raw.toString('hex'),
      hex(
        `0000000e {zxid} 00000000
        00000001 00 00000000 00000003 2f6d32
        00000005 00 00000000 {zxid} {zxid} {time} {time} 00000001 00000000 00000000 {none} 00000002 00000000 {zxid}
        0000000d 00 00000000
        0000000f 00 00000000 00000005 2f6d322f63
          {zxid} {zxid} {time} {time} 00000000 00000000 00000000 {none} 00000000 00000000 {zxid}
        00000002 00 00000000
        ffffffff 01 ffffffff`,
        { zxid: reply.zxid, time, none: 0n },
      ),
    )
  })

  test('multiRead of /a, its children and a missing node', async () => {
    const client = await zk.connect()
    const { czxid, mzxid, ctime, mtime, pzxid } = (await ok(client.getData('/a'))).stat
    const reply = await client.requestRaw(
      frame(
        bytes(`00000010 00000016
        00000004 00 ffffffff 00000002 2f61 00
        00000008 00 ffffffff 00000002 2f61 00
        00000008 00 ffffffff 00000002 2f7a 00
        ffffffff 01 ffffffff`),
      ),
      { xid: 16 },
    )
    assert.equal(
      reply.raw.toString('hex'),
      hex(
        `00000010 {zxid} 00000000
        00000004 00 00000000 00000001 78 {czxid} {mzxid} {ctime} {mtime} 00000001 00000000 00000000 {none}
          00000001 00000000 {pzxid}
        00000008 00 00000000 00000000
        ffffffff 00 ffffff9b ffffff9b
        ffffffff 01 ffffffff`,
        { zxid: reply.zxid, none: 0n, czxid, mzxid, ctime, mtime, pzxid },
      ),
    )
  })

  test('createTTL /ttl ttl 60000 flags 5', async () => {
    const client = await zk.connect()
    const reply = await client.requestRaw(
      bytes(
        `0000003b 00000010 00000015 00000004 2f74746c 00000000 00000001 0000001f 00000005 776f726c64 00000006
        616e796f6e65 00000005 000000000000ea60`,
      ),
      { xid: 16 },
    )
    const time = reply.body.readBigInt64BE(8 + 16)
    assert.equal(
      framed(reply.raw),
      hex(
        `0000005c 00000010 {zxid} 00000000 00000004 2f74746c {zxid} {zxid} {time} {time}
        00000000 00000000 00000000 0000000000000000 00000000 00000000 {zxid}`,
        { zxid: reply.zxid, time },
      ),
    )
  })

  test('addWatch /a mode 0: the reply has an extra int 0', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const reply = await client.requestRaw(bytes('00000012 00000011 0000006a 00000002 2f61 00000000'), {
      xid: 17,
    })
    assert.equal(framed(reply.raw), hex('00000014 00000011 {zxid} 00000000 00000000', { zxid }))
  })

  test('setWatches2 relativeZxid 2^40, recursive ["/"], xid -8', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const reply = await client.requestRaw(
      bytes(
        '00000029 fffffff8 00000069 0000010000000000 00000000 00000000 00000000 00000000 00000001 00000001 2f',
      ),
      { xid: -8 },
    )
    assert.equal(framed(reply.raw), hex('00000010 fffffff8 {zxid} 00000000', { zxid }))
  })

  test('closeSession: a reply with a zxid of its own, then close', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const reply = await client.requestRaw(bytes('00000008 00000019 fffffff5'), { xid: 25 })
    assert.equal(framed(reply.raw), hex('00000010 00000019 {zxid} 00000000', { zxid: zxid + 1n }))
    await client.closed()
  })

  test('unknown opcode 77: -6 with zxid -1, then close', async () => {
    const client = await zk.connect()
    const reply = await client.requestRaw(bytes('00000008 00000001 0000004d'), { xid: 1 })
    assert.equal(framed(reply.raw), hex('00000010 00000001 ffffffffffffffff fffffffa'))
    await client.closed()
  })
})
