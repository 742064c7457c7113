// Requests of every operation, and ways to damage them, for property tests. All choices come from fast-check, so that a
// failure can be run again from the seed that it prints.
import fc from 'fast-check'
import { body, Encoder, frame, multiOp, Op } from './raw-client.ts'
import { hello, request } from './robust-wire.ts'

export type Sample = { readonly name: string; readonly op: number; readonly body: Buffer }

/** One well-formed body for every operation that a client can send. */
export function samples(path = '/f/a'): Sample[] {
  const lists = new Encoder().long(0n)
  for (let i = 0; i < 3; i++) lists.texts([path, '/'])
  const old = lists.bytes()
  const bodies: [keyof typeof Op, Buffer][] = [
    ['create', body.create(path, { data: 'data' })],
    ['create2', body.create(path, { data: 'data', acl: [{ perms: 31, scheme: 'digest', id: 'u:p' }] })],
    ['createContainer', body.create(path, { flags: 4 })],
    ['createTtl', body.createTtl(path, 1000n)],
    ['delete', body.pathVersion(path, 3)],
    ['deleteContainer', body.path(path)],
    ['setData', body.setData(path, 'more', -1)],
    ['setAcl', body.setAcl(path, [{ perms: 1, scheme: 'ip', id: '127.0.0.1' }])],
    ['check', body.pathVersion(path)],
    ['exists', body.pathWatch(path, true)],
    ['getData', body.pathWatch(path, true)],
    ['getAcl', body.path(path)],
    ['getChildren', body.pathWatch(path, true)],
    ['getChildren2', body.pathWatch(path)],
    ['getEphemerals', body.path('/')],
    ['getAllChildrenNumber', body.path(path)],
    ['sync', body.path(path)],
    [
      'multi',
      body.multi([
        multiOp.create(path),
        multiOp.setData(path, 'x'),
        multiOp.check(path),
        multiOp.delete(path),
      ]),
    ],
    ['multiRead', body.multi([multiOp.getData(path), multiOp.getChildren('/')])],
    ['reconfig', new Encoder().text('server.5=h:1:2').text(null).text(null).long(-1n).bytes()],
    ['setWatches', old],
    ['setWatches2', new Encoder().raw(old).texts([path]).texts(['/']).bytes()],
    ['addWatch', body.pathVersion(path, 1)],
    ['checkWatches', body.pathVersion(path, 3)],
    ['removeWatches', body.pathVersion(path, 3)],
    ['auth', body.auth('digest', 'u:p')],
    ['sasl', new Encoder().buffer(Buffer.from('token')).bytes()],
    ['whoAmI', Buffer.alloc(0)],
    ['ping', Buffer.alloc(0)],
    ['createSession', new Encoder().int(4000).bytes()],
    ['closeSession', Buffer.alloc(0)],
  ]
  return bodies.map(([name, bytes]) => ({ name, op: Op[name], body: bytes }))
}

type Damage = (bytes: Buffer) => Buffer

const odd = [0, 1, -1, -2, 4, 0x7f, 0x80, 0xff, 0xffff, 0xfffff, 0x100000, 0x7fffffff, -0x80000000]

const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.tuple(fc.nat(), fc.nat(255)).map(([at, mask]): Damage => {
    return (bytes) => {
      const copy = Buffer.from(bytes)
      if (copy.length > 0) copy[at % copy.length] = (copy[at % copy.length] ?? 0) ^ mask
      return copy
    }
  }),
  fc.tuple(fc.nat(), fc.constantFrom(...odd)).map(([at, value]): Damage => {
    return (bytes) => {
      const copy = Buffer.from(bytes)
      if (copy.length >= 4) copy.writeInt32BE(value, at % (copy.length - 3))
      return copy
    }
  }),
  fc.nat().map(
    (at): Damage =>
      (bytes) =>
        bytes.subarray(0, at % (bytes.length + 1)),
  ),
  fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 20 })).map(([at, more]): Damage => {
    return (bytes) => {
      const cut = at % (bytes.length + 1)
      return Buffer.concat([bytes.subarray(0, cut), more, bytes.subarray(cut)])
    }
  }),
)

const path = fc.oneof(
  fc.constantFrom(
    '/f',
    '/f/a',
    '/f/a/b',
    '/',
    '',
    'x',
    '//',
    '/f/',
    '/zookeeper/config',
    '/zookeeper/quota/f',
    '/\0',
  ),
  fc.string({ maxLength: 12 }).map((text) => `/f/${text}`),
)

/** A frame with one request, its payload perhaps damaged inside an intact frame. */
const framed = fc
  .tuple(path, fc.nat(), fc.integer(), fc.array(damage, { maxLength: 3 }))
  .map(([at, index, xid, damages]) => {
    const list = samples(at)
    const sample = list[index % list.length] as Sample
    const payload = request(xid, sample.op, sample.body).subarray(4)
    return frame(damages.reduce((bytes, apply) => apply(bytes), payload as Buffer))
  })

/** What one hostile connection sends, and where the pieces end. */
export type Assault = {
  readonly handshake: boolean
  readonly bytes: Buffer
  readonly cuts: readonly number[]
}

const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
  fc.uint8Array({ maxLength: 400 }).map((bytes) => frame(Buffer.from(bytes))),
  fc.array(framed, { minLength: 1, maxLength: 8 }).map((frames) => Buffer.concat(frames)),
  fc
    .tuple(fc.array(framed, { minLength: 1, maxLength: 8 }), fc.array(damage, { minLength: 1, maxLength: 3 }))
    .map(([frames, damages]) =>
      damages.reduce((bytes, apply) => apply(bytes), Buffer.concat(frames) as Buffer),
    ),
  fc
    .tuple(fc.array(damage, { minLength: 1, maxLength: 3 }), framed)
    .map(([damages, more]) => Buffer.concat([damages.reduce((bytes, apply) => apply(bytes), hello()), more])),
)

export const assault: fc.Arbitrary<Assault> = fc.record({
  handshake: fc.boolean(),
  bytes: anyBytes,
  cuts: fc.array(fc.nat(), { maxLength: 6 }),
})

/** The bytes of an assault in the pieces it wants. */
export function pieces({ bytes, cuts }: Assault): Buffer[] {
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1))), bytes.length].sort((a, b) => a - b)
  return ends
    .map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end))
    .filter((piece) => piece.length > 0)
}
