import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Handshake, type HandshakeOptions, type Progress, type Remote } from '../../src/peers/handshake.ts'
import { RefusalCode } from '../../src/peers/refusals.ts'

const ensemble = Buffer.from('ensemble')
const secret = Buffer.from('a shared secret')

function side(role: HandshakeOptions['role'], options: Partial<HandshakeOptions> = {}): Handshake {
  const id = role === 'dialer' ? 2 : 1
  return new Handshake({
    role,
    self: { id, instance: Buffer.alloc(16, id), version: `v${id}` },
    ...(role === 'dialer' && { meant: 1 }),
    secret: undefined,
    ensemble: () => ensemble,
    nonce: Buffer.alloc(32, 10 + id),
    admit: () => undefined,
    ...options,
  })
}

/** What was sent, in order, and how each side ended. */
type Talk = {
  readonly sent: { readonly by: 'dialer' | 'acceptor'; readonly bytes: Buffer }[]
  readonly dialer: Progress | undefined
  readonly acceptor: Progress | undefined
}

/** Lets two sides talk until nobody has anything to say. `alter` may change what is on its way. */
function talk(
  dialer: Handshake,
  acceptor: Handshake,
  alter = (_: number, bytes: Buffer): Buffer => bytes,
): Talk {
  const ends: { dialer: Progress | undefined; acceptor: Progress | undefined } = {
    dialer: undefined,
    acceptor: undefined,
  }
  const sent: Talk['sent'][number][] = []
  const queue: Talk['sent'][number][] = [{ by: 'dialer', bytes: Buffer.from(dialer.start()!) }]
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    sent.push(next)
    const to = next.by === 'dialer' ? 'acceptor' : 'dialer'
    if (ends[to] !== undefined && ends[to].type !== 'more') continue
    const progress = (to === 'dialer' ? dialer : acceptor).receive(
      alter(sent.length - 1, Buffer.from(next.bytes)),
    )
    ends[to] = progress
    for (const bytes of progress.out) queue.push({ by: to, bytes: Buffer.from(bytes) })
  }
  return { sent, ...ends }
}

function refusalOf(progress: Progress | undefined): [by: string, code: number] | undefined {
  return progress?.type === 'refused' ? [progress.by, progress.refusal.code] : undefined
}

for (const shared of [undefined, secret]) {
  const how = shared === undefined ? 'without a secret' : 'with a secret'

  test(`handshake ${how}: both sides learn who the other is`, () => {
    const { dialer, acceptor } = talk(
      side('dialer', { secret: shared }),
      side('acceptor', { secret: shared }),
    )
    assert.ok(dialer?.type === 'open' && acceptor?.type === 'open')
    const remote = (id: number, meant: number): Remote => ({
      id,
      meant,
      instance: Buffer.alloc(16, id).toString('hex'),
      version: `v${id}`,
      ensemble,
    })
    assert.deepEqual(dialer.remote, remote(1, 2))
    assert.deepEqual(acceptor.remote, remote(2, 1))
  })

  test(`handshake ${how}: it does not matter how the bytes are cut, and what follows is left alone`, () => {
    const dialer = side('dialer', { secret: shared })
    const acceptor = side('acceptor', { secret: shared })
    const { sent } = talk(dialer, acceptor)
    const toAcceptor = Buffer.concat([
      ...sent.filter(({ by }) => by === 'dialer').map(({ bytes }) => bytes),
      Buffer.from('frames'),
    ])
    const again = side('acceptor', { secret: shared })
    let end: Progress | undefined
    let at = 0
    while (end === undefined || end.type === 'more') end = again.receive(toAcceptor.subarray(at, ++at))
    assert.ok(end.type === 'open')
    assert.equal(at, toAcceptor.length - 'frames'.length)
    const atOnce = side('acceptor', { secret: shared }).receive(toAcceptor)
    assert.equal(atOnce.type === 'open' && atOnce.rest.toString(), 'frames')
  })

  test(`handshake ${how}: the acceptor does not take the connection before the dialer has taken it`, () => {
    const refuse = () => ({ code: RefusalCode.ensemble, text: 'not mine' })
    const { dialer, acceptor } = talk(
      side('dialer', { secret: shared, admit: refuse }),
      side('acceptor', { secret: shared }),
    )
    assert.deepEqual(refusalOf(dialer), ['us', RefusalCode.ensemble])
    assert.deepEqual(refusalOf(acceptor), ['them', RefusalCode.ensemble])
    assert.equal(acceptor?.type === 'refused' && acceptor.refusal.text, 'not mine')
  })
}

test('handshake: an ensemble that is not known yet is empty', () => {
  const { acceptor } = talk(side('dialer', { ensemble: () => undefined }), side('acceptor'))
  assert.ok(acceptor?.type === 'open')
  assert.equal(acceptor.remote.ensemble, undefined)
})

test('handshake: with different secrets nobody is admitted, and both sides know why', () => {
  const admit = () => assert.fail('asked about somebody who proved nothing')
  const { dialer, acceptor } = talk(
    side('dialer', { secret, admit }),
    side('acceptor', { secret: Buffer.from('another'), admit }),
  )
  assert.deepEqual(refusalOf(acceptor), ['us', RefusalCode.secretWrong])
  assert.deepEqual(refusalOf(dialer), ['them', RefusalCode.secretWrong])
})

test('handshake: who has no secret is refused by who has one, in both directions', () => {
  const toOne = talk(side('dialer'), side('acceptor', { secret }))
  assert.deepEqual(refusalOf(toOne.acceptor), ['us', RefusalCode.secretMissing])
  assert.deepEqual(refusalOf(toOne.dialer), ['them', RefusalCode.secretMissing])
  const toNone = talk(side('dialer', { secret }), side('acceptor'))
  assert.deepEqual(refusalOf(toNone.acceptor), ['us', RefusalCode.secretUnexpected])
  assert.deepEqual(refusalOf(toNone.dialer), ['them', RefusalCode.secretUnexpected])
})

test('handshake: nobody gets a proof of the secret who has not given one', () => {
  const acceptor = side('acceptor', { secret })
  const dialer = side('dialer', { secret: Buffer.from('guess') })
  const { sent } = talk(dialer, acceptor)
  const parts = sent.filter(({ by }) => by === 'acceptor').map(({ bytes }) => bytes[4])
  assert.deepEqual(parts, [1, 4]) // hello and refusal
})

test('handshake: with a secret a change of any bit of hello or proof is found', () => {
  const good = talk(side('dialer', { secret }), side('acceptor', { secret }))
  for (const message of [0, 1, 2, 3]) {
    const length = good.sent[message]!.bytes.length
    for (let at = 0; at < length; at++) {
      const { dialer, acceptor } = talk(
        side('dialer', { secret }),
        side('acceptor', { secret }),
        (index, bytes) => {
          if (index === message) bytes[at] = bytes[at]! ^ 1
          return bytes
        },
      )
      assert.ok(dialer?.type !== 'open' || acceptor?.type !== 'open', `byte ${at} of message ${message}`)
      assert.notEqual(acceptor?.type, 'open', `byte ${at} of message ${message}`)
    }
  }
})

test('handshake: a recorded one does not convince anybody again', () => {
  const { sent } = talk(side('dialer', { secret }), side('acceptor', { secret }))
  const acceptor = side('acceptor', { secret, nonce: Buffer.alloc(32, 99) })
  const toAcceptor = sent.filter(({ by }) => by === 'dialer').map(({ bytes }) => bytes)
  assert.deepEqual(refusalOf(acceptor.receive(Buffer.concat(toAcceptor))), ['us', RefusalCode.secretWrong])
  const dialer = side('dialer', { secret, nonce: Buffer.alloc(32, 98) })
  const toDialer = sent.filter(({ by }) => by === 'acceptor').map(({ bytes }) => bytes)
  assert.deepEqual(refusalOf(dialer.receive(Buffer.concat(toDialer))), ['us', RefusalCode.secretWrong])
})

test('handshake: what a server proves as dialer is no proof for an acceptor', () => {
  // Both sides of the attacked server say the same, so that only the part they play tells the proofs apart.
  const same = {
    secret,
    self: { id: 1, instance: Buffer.alloc(16, 1), version: 'v' },
    nonce: Buffer.alloc(32, 5),
  }
  const dialer = side('dialer', same)
  const hello = Buffer.from(dialer.start()!)
  const [proof] = dialer.receive(hello).out
  assert.ok(proof)
  assert.deepEqual(refusalOf(dialer.receive(Buffer.from(proof))), ['us', RefusalCode.secretWrong])
})

test('handshake: over another TLS connection the proof is worth nothing', () => {
  const { acceptor } = talk(
    side('dialer', { secret, channel: Buffer.from('one') }),
    side('acceptor', { secret, channel: Buffer.from('two') }),
  )
  assert.deepEqual(refusalOf(acceptor), ['us', RefusalCode.secretWrong])
})

test('handshake: another version of the protocol is refused before anything else is read', () => {
  const acceptor = side('acceptor')
  const later = Buffer.concat([Buffer.from('zabP'), Buffer.of(1, 0, 6, 0, 9, 1, 2, 3, 4)])
  const progress = acceptor.receive(later)
  assert.deepEqual(refusalOf(progress), ['us', RefusalCode.version])
  assert.match(progress.type === 'refused' ? progress.refusal.text : '', /server 1 .*version 1 .*version 9/)
})

test('handshake: bytes of something else are foreign from the first one on', () => {
  for (const text of ['G', 'GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01', 'zabX']) {
    const progress = side('acceptor').receive(Buffer.from(text, 'latin1'))
    assert.equal(progress.type, 'foreign', text)
    assert.deepEqual(progress.out, [])
  }
})

const envelope = (kind: number, length: number) =>
  Buffer.concat([Buffer.from('zabP'), Buffer.of(kind, length >> 8, length)])
for (const [what, bytes] of [
  ['a part longer than any', envelope(1, 0x4000)],
  ['a proof before a hello', Buffer.concat([envelope(2, 1), Buffer.of(0)])],
  ['readiness before a hello', envelope(3, 0)],
  ['a part that there is not', envelope(9, 0)],
  ['an empty hello', envelope(1, 0)],
  ['a short hello', Buffer.concat([envelope(1, 3), Buffer.of(0, 1, 0)])],
] as const) {
  test(`handshake: ${what} is refused at once`, () => {
    assert.deepEqual(refusalOf(side('acceptor').receive(bytes)), ['us', RefusalCode.malformed])
  })
}

test('handshake: the text of a refusal is fit for a log', () => {
  const text = Buffer.from(`\x1b[31mred\n${'x'.repeat(900)}`)
  const bytes = Buffer.concat([envelope(4, text.length + 1), Buffer.of(RefusalCode.ensemble), text])
  const progress = side('dialer').receive(bytes)
  assert.ok(progress.type === 'refused')
  assert.ok(progress.refusal.text.length <= 300)
  assert.match(progress.refusal.text, /^ \[31mred x+$/)
})

test('handshake: the dialer says when the other side may count on it', () => {
  const dialer = side('dialer')
  const acceptor = side('acceptor')
  const hello = Buffer.from(dialer.start()!)
  assert.equal(dialer.proven, false)
  dialer.receive(Buffer.from(acceptor.receive(hello).out[0]!))
  assert.equal(dialer.proven, true)
  assert.equal(acceptor.proven, false)
})
