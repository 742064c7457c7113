// The npm client node-zookeeper-client against the server, through its whole API. The client is CommonJS without types,
// so what is used of it is declared here.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { afterEach, describe, test } from 'node:test'
import { within } from '../support/raw-client.ts'
import { sharedServer, startServer, type TestServer } from '../support/server.ts'

type ZkException = Error & { getCode(): number; getName(): string; getPath(): string | undefined }
type Failure = ZkException | null | undefined
type ZkEvent = { getType(): number; getName(): string; getPath(): string }
type ZkState = { readonly name: string; readonly code: number }
/** The client keeps 64-bit fields as buffers. */
type ZkStat = {
  readonly czxid: Buffer
  readonly version: number
  readonly aversion: number
  readonly cversion: number
  readonly ephemeralOwner: Buffer
  readonly dataLength: number
  readonly numChildren: number
}
type ZkId = { readonly scheme: string; readonly id: string }
type ZkAcl = { readonly permission: number; readonly id: ZkId }
type Watcher = (event: ZkEvent) => void
type Result = { readonly type: number; readonly err: number; readonly path?: string; readonly stat?: ZkStat }

type Transaction = {
  create(path: string, data?: Buffer, acls?: readonly ZkAcl[], mode?: number): Transaction
  check(path: string, version?: number): Transaction
  setData(path: string, data: Buffer, version?: number): Transaction
  remove(path: string, version?: number): Transaction
  commit(callback: (error: Failure, results: readonly Result[]) => void): void
}

type Client = NodeJS.EventEmitter & {
  connect(): void
  close(): void
  getState(): ZkState
  getSessionId(): Buffer
  getSessionPassword(): Buffer
  getSessionTimeout(): number
  addAuthInfo(scheme: string, auth: Buffer): void
  create(
    path: string,
    data: Buffer | undefined,
    acls: readonly ZkAcl[] | undefined,
    mode: number | undefined,
    callback: (error: Failure, path: string) => void,
  ): void
  remove(path: string, version: number, callback: (error: Failure) => void): void
  removeRecursive(path: string, version: number, callback: (error: Failure) => void): void
  setData(
    path: string,
    data: Buffer | undefined,
    version: number,
    callback: (error: Failure, stat: ZkStat) => void,
  ): void
  getData(
    path: string,
    watcher: Watcher | undefined,
    callback: (error: Failure, data: Buffer | undefined, stat: ZkStat) => void,
  ): void
  exists(
    path: string,
    watcher: Watcher | undefined,
    callback: (error: Failure, stat: ZkStat | null) => void,
  ): void
  getChildren(
    path: string,
    watcher: Watcher | undefined,
    callback: (error: Failure, children: readonly string[], stat: ZkStat) => void,
  ): void
  getACL(path: string, callback: (error: Failure, acls: readonly ZkAcl[], stat: ZkStat) => void): void
  setACL(
    path: string,
    acls: readonly ZkAcl[],
    version: number,
    callback: (error: Failure, stat: ZkStat) => void,
  ): void
  listSubTreeBFS(path: string, callback: (error: Failure, paths: readonly string[]) => void): void
  mkdirp(
    path: string,
    data: Buffer | undefined,
    acls: readonly ZkAcl[] | undefined,
    mode: number | undefined,
    callback: (error: Failure, path: string) => void,
  ): void
  transaction(): Transaction
}

type ClientOptions = {
  readonly sessionTimeout?: number
  readonly spinDelay?: number
  readonly retries?: number
}

type ClientModule = {
  createClient(connectionString: string, options?: ClientOptions): Client
  readonly ACL: {
    new (permission: number, id: ZkId): ZkAcl
    readonly OPEN_ACL_UNSAFE: readonly ZkAcl[]
    readonly CREATOR_ALL_ACL: readonly ZkAcl[]
    readonly READ_ACL_UNSAFE: readonly ZkAcl[]
  }
  readonly Id: new (scheme: string, id: string) => ZkId
  readonly Permission: Record<'READ' | 'WRITE' | 'CREATE' | 'DELETE' | 'ADMIN' | 'ALL', number>
  readonly CreateMode: Record<
    'PERSISTENT' | 'PERSISTENT_SEQUENTIAL' | 'EPHEMERAL' | 'EPHEMERAL_SEQUENTIAL',
    number
  >
  readonly State: Record<'DISCONNECTED' | 'SYNC_CONNECTED' | 'EXPIRED' | 'AUTH_FAILED', ZkState>
  readonly Event: Record<
    'NODE_CREATED' | 'NODE_DELETED' | 'NODE_DATA_CHANGED' | 'NODE_CHILDREN_CHANGED',
    number
  >
  readonly Exception: Record<
    'NO_NODE' | 'NODE_EXISTS' | 'NOT_EMPTY' | 'BAD_VERSION' | 'NO_AUTH' | 'NO_CHILDREN_FOR_EPHEMERALS',
    number
  >
}

const zookeeper: ClientModule = createRequire(import.meta.url)('node-zookeeper-client')
const { ACL, CreateMode, Event, Exception, Id, Permission, State } = zookeeper

const zk = sharedServer({ tickTime: 500, maxSessionTimeout: 60_000 })
const clients: Client[] = []
const noData = undefined

async function openOn(server: { readonly port: number }, options: ClientOptions = {}): Promise<Client> {
  const client = zookeeper.createClient(`127.0.0.1:${server.port}`, { spinDelay: 50, ...options })
  clients.push(client)
  const connected = once(client, 'connected')
  client.connect()
  await within(connected, 'the client connects')
  return client
}

const open = (options?: ClientOptions) => openOn(zk.server, options)

async function close(client: Client): Promise<void> {
  const disconnected = once(client, 'disconnected')
  client.close()
  await within(disconnected, 'the client disconnects')
}

/** Settles with what a callback gets behind its error. */
function call<T extends unknown[]>(
  run: (callback: (error: Failure, ...rest: T) => void) => void,
): Promise<T> {
  const result = new Promise<T>((resolve, reject) => {
    run((error, ...rest) => (error ? reject(error) : resolve(rest)))
  })
  return within(result, 'a callback')
}

/** The code of the error that a call must end with. */
async function failure(result: Promise<unknown>): Promise<number> {
  const error: unknown = await result.then(
    () => assert.fail('it succeeded'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof Error && 'getCode' in error, String(error))
  return (error as ZkException).getCode()
}

function create(
  client: Client,
  path: string,
  options: { data?: string; acls?: readonly ZkAcl[]; mode?: number } = {},
): Promise<string> {
  const data = options.data === undefined ? noData : Buffer.from(options.data)
  return call<[string]>((done) => client.create(path, data, options.acls, options.mode, done)).then(
    ([created]) => created,
  )
}

const exists = (client: Client, path: string, watcher?: Watcher) =>
  call<[ZkStat | null]>((done) => client.exists(path, watcher, done)).then(([stat]) => stat)

const getData = (client: Client, path: string, watcher?: Watcher) =>
  call<[Buffer | undefined, ZkStat]>((done) => client.getData(path, watcher, done))

const setData = (client: Client, path: string, data: string, version = -1) =>
  call<[ZkStat]>((done) => client.setData(path, Buffer.from(data), version, done)).then(([stat]) => stat)

const getChildren = (client: Client, path: string, watcher?: Watcher) =>
  call<[readonly string[], ZkStat]>((done) => client.getChildren(path, watcher, done))

const remove = (client: Client, path: string, version = -1) =>
  call<[]>((done) => client.remove(path, version, done))

/** A watcher, and a function that waits for its event as `TYPE path`. */
function watcher(): { watch: Watcher; event: () => Promise<string> } {
  let watch: Watcher = () => {}
  const event = new Promise<string>((resolve) => {
    watch = (seen) => resolve(`${seen.getName()} ${seen.getPath()}`)
  })
  return { watch, event: () => within(event, 'a watch event') }
}

function ownerOf(stat: ZkStat | null): string | undefined {
  return stat?.ephemeralOwner.toString('hex')
}

afterEach(async () => {
  for (const client of clients.splice(0)) {
    if (client.getState() === State.SYNC_CONNECTED) await close(client)
    else client.close()
  }
})

describe('sessions', () => {
  test('a client connects and gets a session', async () => {
    const client = await open({ sessionTimeout: 10_000 })
    assert.equal(client.getState(), State.SYNC_CONNECTED)
    assert.equal(client.getSessionId().length, 8)
    assert.notEqual(client.getSessionId().readBigInt64BE(), 0n)
    assert.equal(client.getSessionPassword().length, 16)
    assert.equal(client.getSessionTimeout(), 10_000)
  })

  test('a client closes', async () => {
    const client = await open()
    await close(client)
    assert.equal(client.getState(), State.DISCONNECTED)
  })

  test('a client lives on without requests, by its pings', async () => {
    const client = await open({ sessionTimeout: 1500 })
    // Longer than the timeout: the pings of the client are what is tested.
    await new Promise((resolve) => setTimeout(resolve, 3500))
    assert.equal(client.getState(), State.SYNC_CONNECTED)
    assert.notEqual(await exists(client, '/'), null)
  })

  test('a chroot is put before every path', async () => {
    const client = await open()
    await create(client, '/chroot')
    const inside = zookeeper.createClient(`127.0.0.1:${zk.port}/chroot`, { spinDelay: 50 })
    clients.push(inside)
    const connected = once(inside, 'connected')
    inside.connect()
    await within(connected, 'the client connects')
    assert.equal(await create(inside, '/x', { data: 'd' }), '/x')
    assert.equal((await getData(client, '/chroot/x'))[0]?.toString(), 'd')
  })
})

describe('create', () => {
  test('persistent, with data', async () => {
    const client = await open()
    assert.equal(await create(client, '/persistent', { data: 'data' }), '/persistent')
    const [data, stat] = await getData(client, '/persistent')
    assert.equal(data?.toString(), 'data')
    assert.deepEqual([stat.version, stat.dataLength], [0, 4])
  })

  test('persistent sequential', async () => {
    const client = await open()
    await create(client, '/seq')
    const mode = CreateMode.PERSISTENT_SEQUENTIAL
    assert.equal(await create(client, '/seq/n-', { mode }), '/seq/n-0000000000')
    assert.equal(await create(client, '/seq/n-', { mode }), '/seq/n-0000000001')
  })

  test('ephemeral: owned by the session, gone when it closes', async () => {
    const [owner, other] = [await open(), await open()]
    await create(owner, '/ephemeral', { mode: CreateMode.EPHEMERAL })
    assert.equal(ownerOf(await exists(other, '/ephemeral')), owner.getSessionId().toString('hex'))
    const { watch, event } = watcher()
    await exists(other, '/ephemeral', watch)
    await close(owner)
    assert.equal(await event(), 'NODE_DELETED /ephemeral')
    assert.equal(await exists(other, '/ephemeral'), null)
  })

  test('ephemeral sequential', async () => {
    const client = await open()
    await create(client, '/eseq')
    const path = await create(client, '/eseq/n-', { mode: CreateMode.EPHEMERAL_SEQUENTIAL })
    assert.equal(path, '/eseq/n-0000000000')
    assert.equal(ownerOf(await exists(client, path)), client.getSessionId().toString('hex'))
  })

  test('an existing node, a missing parent, an ephemeral parent are errors', async () => {
    const client = await open()
    await create(client, '/once')
    assert.equal(await failure(create(client, '/once')), Exception.NODE_EXISTS)
    assert.equal(await failure(create(client, '/no-such/x')), Exception.NO_NODE)
    await create(client, '/eparent', { mode: CreateMode.EPHEMERAL })
    assert.equal(await failure(create(client, '/eparent/x')), Exception.NO_CHILDREN_FOR_EPHEMERALS)
  })

  test('mkdirp makes all parents, and again is no error', async () => {
    const client = await open()
    for (let i = 0; i < 2; i++) {
      const [path] = await call<[string]>((done) =>
        client.mkdirp('/mk/d/i/r/p', Buffer.from('leaf'), undefined, CreateMode.PERSISTENT, done),
      )
      assert.equal(path, '/mk/d/i/r/p')
    }
    assert.notEqual(await exists(client, '/mk/d/i/r/p'), null)
  })
})

describe('reads and writes', () => {
  test('exists gives the stat, or null for a missing node', async () => {
    const client = await open()
    await create(client, '/exists')
    assert.equal((await exists(client, '/exists'))?.numChildren, 0)
    assert.equal(await exists(client, '/exists-not'), null)
  })

  test('setData compares versions', async () => {
    const client = await open()
    await create(client, '/set')
    assert.equal((await setData(client, '/set', 'a', 0)).version, 1)
    assert.equal(await failure(setData(client, '/set', 'b', 0)), Exception.BAD_VERSION)
    assert.equal((await setData(client, '/set', 'b')).version, 2)
    assert.equal((await getData(client, '/set'))[0]?.toString(), 'b')
  })

  test('data of 100 kB comes back as it was', async () => {
    const client = await open()
    const data = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7) & 0xff))
    await call<[string]>((done) => client.create('/big', data, undefined, undefined, done))
    assert.deepEqual((await getData(client, '/big'))[0], data)
  })

  test('getChildren lists the children with the stat of the parent', async () => {
    const client = await open()
    await create(client, '/children')
    for (const name of ['a', 'b', 'c']) await create(client, `/children/${name}`)
    const [children, stat] = await getChildren(client, '/children')
    assert.deepEqual(children.toSorted(), ['a', 'b', 'c'])
    assert.equal(stat.numChildren, 3)
  })

  test('remove compares versions and refuses nodes with children', async () => {
    const client = await open()
    await create(client, '/remove')
    await create(client, '/remove/c')
    assert.equal(await failure(remove(client, '/remove', 7)), Exception.BAD_VERSION)
    assert.equal(await failure(remove(client, '/remove')), Exception.NOT_EMPTY)
    await remove(client, '/remove/c')
    await remove(client, '/remove', 0)
    assert.equal(await failure(remove(client, '/remove')), Exception.NO_NODE)
  })

  test('listSubTreeBFS and removeRecursive go over a whole subtree', async () => {
    const client = await open()
    // Not deeper: the client's own search stops there.
    const paths = ['/sub', '/sub/a', '/sub/b']
    for (const path of paths) await create(client, path)
    const [listed] = await call<[readonly string[]]>((done) => client.listSubTreeBFS('/sub', done))
    assert.deepEqual(listed.toSorted(), paths.toSorted())
    await call<[]>((done) => client.removeRecursive('/sub', -1, done))
    assert.equal(await exists(client, '/sub'), null)
  })

  test('a thousand requests in flight are all answered', async () => {
    const client = await open()
    await create(client, '/flight')
    await Promise.all(
      Array.from({ length: 1000 }, (_, i) => create(client, `/flight/${i}`, { data: String(i) })),
    )
    const read = await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => (await getData(client, `/flight/${i}`))[0]?.toString()),
    )
    assert.deepEqual(
      read,
      Array.from({ length: 1000 }, (_, i) => String(i)),
    )
  })
})

describe('ACLs', () => {
  const digest = (auth: string) => `${auth.split(':')[0]}:${createHash('sha1').update(auth).digest('base64')}`
  const getAcl = (client: Client, path: string) =>
    call<[readonly ZkAcl[], ZkStat]>((done) => client.getACL(path, done))

  test('the default is open to the world', async () => {
    const client = await open()
    await create(client, '/acl-open')
    const [acls] = await getAcl(client, '/acl-open')
    assert.deepEqual(
      acls.map(({ permission, id }) => [permission, id.scheme, id.id]),
      [[Permission.ALL, 'world', 'anyone']],
    )
  })

  test('READ_ACL_UNSAFE allows reads only', async () => {
    const client = await open()
    await create(client, '/acl-read', { data: 'x', acls: ACL.READ_ACL_UNSAFE })
    assert.equal((await getData(client, '/acl-read'))[0]?.toString(), 'x')
    assert.equal(await failure(setData(client, '/acl-read', 'y')), Exception.NO_AUTH)
  })

  test('addAuthInfo with CREATOR_ALL_ACL: the creator alone has access', async () => {
    const [owner, stranger] = [await open(), await open()]
    owner.addAuthInfo('digest', Buffer.from('alice:secret'))
    await create(owner, '/acl-creator', { data: 'x', acls: ACL.CREATOR_ALL_ACL })
    assert.equal((await getData(owner, '/acl-creator'))[0]?.toString(), 'x')
    assert.equal(await failure(getData(stranger, '/acl-creator')), Exception.NO_AUTH)
    stranger.addAuthInfo('digest', Buffer.from('alice:secret'))
    assert.equal((await getData(stranger, '/acl-creator'))[0]?.toString(), 'x')
  })

  test('setACL with a digest id, getACL gives it back', async () => {
    const client = await open()
    client.addAuthInfo('digest', Buffer.from('bob:secret'))
    await create(client, '/acl-set')
    const acls = [new ACL(Permission.ALL, new Id('digest', digest('bob:secret')))]
    const [stat] = await call<[ZkStat]>((done) => client.setACL('/acl-set', acls, 0, done))
    assert.equal(stat.aversion, 1)
    const [read] = await getAcl(client, '/acl-set')
    assert.deepEqual(
      read.map(({ permission, id }) => [permission, id.scheme, id.id]),
      [[Permission.ALL, 'digest', digest('bob:secret')]],
    )
  })

  test('a refused scheme ends in the state AUTH_FAILED', async () => {
    const client = await open()
    const failed = once(client, 'authenticationFailed')
    client.addAuthInfo('nosuch', Buffer.from('x'))
    await within(failed, 'authenticationFailed')
    assert.equal(client.getState(), State.AUTH_FAILED)
  })
})

describe('transaction', () => {
  const commit = (transaction: Transaction) =>
    call<[readonly Result[]]>((done) => transaction.commit(done)).then(([results]) => results)

  test('create, setData, check and remove are done together', async () => {
    const client = await open()
    const results = await commit(
      client
        .transaction()
        .create('/tx', Buffer.from('a'))
        .setData('/tx', Buffer.from('b'), 0)
        .check('/tx', 1)
        .create('/tx/c', Buffer.from('c'), ACL.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL)
        .remove('/tx/c', -1),
    )
    assert.equal(results.length, 5)
    assert.equal((await getData(client, '/tx'))[0]?.toString(), 'b')
    assert.equal(await exists(client, '/tx/c'), null)
  })

  test('if one fails nothing is done', async () => {
    const client = await open()
    const failed = commit(client.transaction().create('/tx-no').check('/tx-missing'))
    assert.equal(await failure(failed), Exception.NO_NODE)
    assert.equal(await exists(client, '/tx-no'), null)
  })
})

describe('watchers', () => {
  test('exists: creation, data change, deletion', async () => {
    const client = await open()
    const [created, changed, deleted] = [watcher(), watcher(), watcher()]
    assert.equal(await exists(client, '/watch', created.watch), null)
    await create(client, '/watch')
    assert.equal(await created.event(), 'NODE_CREATED /watch')
    await exists(client, '/watch', changed.watch)
    await setData(client, '/watch', 'x')
    assert.equal(await changed.event(), 'NODE_DATA_CHANGED /watch')
    await exists(client, '/watch', deleted.watch)
    await remove(client, '/watch')
    assert.equal(await deleted.event(), 'NODE_DELETED /watch')
  })

  test('getData: change by another client', async () => {
    const [client, other] = [await open(), await open()]
    await create(client, '/watch-data')
    const { watch, event } = watcher()
    await getData(client, '/watch-data', watch)
    await setData(other, '/watch-data', 'x')
    assert.equal(await event(), 'NODE_DATA_CHANGED /watch-data')
  })

  test('getChildren: a child comes', async () => {
    const [client, other] = [await open(), await open()]
    await create(client, '/watch-children')
    const { watch, event } = watcher()
    await getChildren(client, '/watch-children', watch)
    await create(other, '/watch-children/c')
    assert.equal(await event(), 'NODE_CHILDREN_CHANGED /watch-children')
  })

  test('the types of events are those of the protocol', () => {
    assert.deepEqual(
      [Event.NODE_CREATED, Event.NODE_DELETED, Event.NODE_DATA_CHANGED, Event.NODE_CHILDREN_CHANGED],
      [1, 2, 3, 4],
    )
  })
})

describe('a server that is killed and started again', () => {
  async function withServer(run: (server: TestServer) => Promise<void>): Promise<void> {
    const server = await startServer()
    try {
      await run(server)
    } finally {
      for (const client of clients.splice(0)) {
        if (client.getState() === State.SYNC_CONNECTED) await close(client)
        else client.close()
      }
      await server.dispose()
    }
  }

  test('the client resumes its session, with its ephemerals, its auth and its watches', async () => {
    await withServer(async (server) => {
      const client = await openOn(server, { sessionTimeout: 30_000 })
      const other = await openOn(server, { sessionTimeout: 30_000 })
      const sessionId = client.getSessionId().toString('hex')
      client.addAuthInfo('digest', Buffer.from('alice:secret'))
      await create(client, '/kept', { data: 'kept', acls: ACL.CREATOR_ALL_ACL })
      await create(client, '/kept-ephemeral', { mode: CreateMode.EPHEMERAL })
      const { watch, event } = watcher()
      await getData(client, '/kept-ephemeral', watch)
      const disconnected = [once(client, 'disconnected'), once(other, 'disconnected')]
      await server.kill()
      await within(Promise.all(disconnected), 'the clients see the end of the server')
      const connected = [once(client, 'connected'), once(other, 'connected')]
      await server.restart()
      // Apache may leave a connection that it took while starting unanswered for 10 s.
      await within(Promise.all(connected), 'the clients connect again', 60_000)
      assert.equal(client.getSessionId().toString('hex'), sessionId)
      assert.equal(ownerOf(await exists(other, '/kept-ephemeral')), sessionId)
      assert.equal((await getData(client, '/kept'))[0]?.toString(), 'kept')
      await setData(other, '/kept-ephemeral', 'changed')
      assert.equal(await event(), 'NODE_DATA_CHANGED /kept-ephemeral')
    })
  })
})
