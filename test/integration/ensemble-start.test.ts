// Servers that start or take up a role: slowly while the others wait, alone, and what they say of it.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startEnsemble } from '../support/ensemble.ts'
import { testDir } from '../support/load-process.ts'
import { ok } from '../support/raw-client.ts'

test('a server that the others reach before it has read its log takes part all the same', async (t) => {
  let begun = () => {}
  const approached = new Promise<void>((resolve) => {
    begun = resolve
  })
  const ensemble = await startEnsemble(t, {
    start: [1, 3],
    wrap: (storage, id) => {
      if (id !== 2) return storage
      const { log } = storage
      const slow = new Proxy(log, {
        get: (target, name) => {
          if (name === 'index') return () => approached.then(() => target.index())
          const value: unknown = Reflect.get(target, name)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
      return { ...storage, log: slow }
    },
  })
  await ensemble.leader()
  const late = ensemble.member(2)
  const starting = late.start()
  // Both have tried: one of them dials it, the other waits to be dialed and then dials, too.
  await ensemble
    .member(3)
    .logged(/server 2.* (takes no connections now: starting|which dialed)|connected to server 2/)
  begun()
  await starting
  await late.serves()
  const leader = await ensemble.leader()
  assert.notEqual(leader, late)
})

test('a port for servers without secret and certificate is worth a warning where others can reach it', async (t) => {
  const dir = await testDir(t)
  const secret = join(dir, 'secret')
  await writeFile(secret, 'a secret of more than sixteen bytes')
  const cases = [
    [{}, 'info'],
    [{ quorumListenOnAllIPs: true }, 'warn'],
    [{ quorumListenOnAllIPs: true, peerSecretFile: secret }, undefined],
  ] as const
  for (const [settings, level] of cases) {
    const { members } = await startEnsemble(t, { settings, start: [1] })
    const told = members[0]?.lines.filter(({ msg }) => /neither a secret nor a certificate/.test(msg))
    assert.deepEqual(
      told?.map((line) => line.level),
      level === undefined ? [] : [level],
    )
  }
})

test('a server that finds no leader names the voters that it misses', async (t) => {
  const ensemble = await startEnsemble(t, { settings: { tickTime: 100 }, start: [2] })
  const { msg, level } = await ensemble.member(2).logged(/^no leader for/)
  assert.equal(level, 'warn')
  assert.match(msg, /^no leader for \d+ s: no quorum of the voters 1, 2, 3 is connected: 1, 3 are missing$/)
})

test('a server says in a line what it becomes, and what it no longer is and why', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], observers: [4] })
  const leader = await ensemble.leader()
  const [follower] = (await ensemble.followers()).filter(({ observer }) => !observer)
  const observer = ensemble.member(4)
  assert.ok(follower !== undefined)
  const { id } = leader
  assert.equal((await leader.logged(/^leads/)).msg, 'leads epoch 1')
  assert.equal((await follower.logged(/^follows/)).msg, `follows server ${id} in epoch 1`)
  assert.equal((await observer.logged(/^observes/)).msg, `observes server ${id} in epoch 1`)
  await leader.stop()
  assert.equal((await leader.logged(/^no longer/)).msg, 'no longer leads: it hands over')
  for (const learner of [follower, observer]) {
    const { msg } = await learner.logged(/^no longer/)
    const why = `(server ${id} does not lead|the connection to leader ${id} was lost)`
    assert.match(msg, new RegExp(`^no longer follows server ${id}, looks for a leader: ${why}$`))
  }
})

test('who leads after a leader that was removed settles who votes, so that the removed one may be stopped for good', async (t) => {
  const superDigest = createHash('sha1').update('super:secret').digest('base64')
  const settings = {
    reconfigEnabled: true,
    'DigestAuthenticationProvider.superDigest': `super:${superDigest}`,
  }
  const ensemble = await startEnsemble(t, { settings })
  const removed = await ensemble.leader()
  const client = await removed.connect()
  await ok(client.auth('digest', 'super:secret'))
  // The answer may be lost with the connection.
  await client.reconfig(null, `${removed.id}`, null).catch(() => undefined)
  const rest = ensemble.members.filter((member) => member !== removed)
  const voters = rest.map(({ id }) => id).join(', ')
  const settled = new RegExp(
    `^the voters are ${voters}; a server that is not among them any more may be stopped$`,
  )
  for (const member of rest) await member.logged(settled)
})
