// Which servers take clients and which take part in elections: leaderServes, --join.
import assert from 'node:assert/strict'
import { dirname } from 'node:path'
import { test } from 'node:test'
import { type Member, newMember, startEnsemble, until } from '../support/ensemble.ts'
import { ClosedError, ok, RawClient } from '../support/raw-client.ts'

const reconfig = { standaloneEnabled: false, reconfigEnabled: true, skipACL: 'yes' }
const notServing = 'This ZooKeeper instance is not currently serving requests\n'

async function refuses(member: Member): Promise<void> {
  const client = await RawClient.dial(member.port)
  await assert.rejects(client.handshake({ readOnly: true }), ClosedError)
}

test('leaderServes=no: the leader takes no clients, the others do, and the leader of before does once it follows', async (t) => {
  const ensemble = await startEnsemble(t, { settings: { leaderServes: 'no' } })
  const roles = () => ensemble.running.map(({ node }) => [node.state, node.serving])
  await until('there is a leader', () => roles().filter(([role]) => role === 'follower').length === 2)
  await until('followers serve', () => roles().every(([role, serving]) => serving === (role !== 'leader')))
  const leader = ensemble.members.find(({ node }) => node.leads) as Member
  const [follower, other] = ensemble.members.filter((member) => member !== leader) as [Member, Member]
  await refuses(leader)
  assert.equal(await leader.word('srvr'), notServing)
  const clients = await Promise.all([follower.connect(), other.connect()])
  await ok((clients[0] as RawClient).create('/a'))

  await leader.stop()
  for (const client of clients) await client.closed()
  const next = await until('another one leads', () => ensemble.running.find(({ node }) => node.leads))
  await refuses(next)
  await leader.start()
  const client = await leader.connect()
  await ok(client.sync('/'))
  await ok(client.exists('/a'))
})

test('leaderServes=no: a server that is alone has clients, and lets them go when others vote with it', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1], settings: { ...reconfig, leaderServes: 'no' } })
  const [alone] = ensemble.members as [Member]
  const client = await alone.connect()
  const joiner = await newMember(t, dirname(alone.dir), 2, false, {
    settings: { ...reconfig, leaderServes: 'no' },
  })
  joiner.joins = true
  await joiner.configure([alone.line, joiner.line])
  await joiner.start()
  await until('the joiner follows', () => joiner.node.serving)
  const { err } = await client.reconfig(joiner.line, null, null)
  assert.equal(err, 0)
  await client.closed()
  await refuses(alone)
  await ok((await joiner.resume(client)).create('/b'))
})

test('servers that join elect nobody, follow a leader that comes, and vote once they have been let in', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1], settings: reconfig, start: [] })
  const [first] = ensemble.members as [Member]
  const joiners: Member[] = []
  for (const id of [2, 3])
    joiners.push(await newMember(t, dirname(first.dir), id, false, { settings: reconfig }))
  // By this list the two would be a quorum.
  const lines = [first.line, ...joiners.map(({ line }) => line)]
  for (const joiner of joiners) {
    joiner.joins = true
    await joiner.configure(lines)
    await joiner.start()
  }
  const [second, third] = joiners as [Member, Member]
  const peers = ({ node }: Member) => node.core?.peers.map(({ id, status }) => [id, status?.candidate])
  await until('they are connected', () => peers(second)?.length === 1 && peers(third)?.length === 1)
  await until('each has heard of the other', () => joiners.every((one) => peers(one)?.[0]?.[1] === false))
  for (const { node } of joiners)
    assert.deepEqual([node.state, node.core?.quorum.voters.includes(node.config.id)], ['looking', false])

  await first.start()
  const client = await first.connect()
  await ok(client.create('/data', { data: 'x' }))
  await until('they follow', () => joiners.every(({ node }) => node.state === 'observer' && node.serving))
  assert.equal((await client.reconfig(joiners.map(({ line }) => line).join(','), null, null)).err, 0)
  await until('they vote', () => joiners.every(({ node }) => node.state === 'follower'))

  await first.stop()
  await until('one of them leads', () => joiners.some(({ node }) => node.leads))
  await third.stop()
  await third.start()
  await until(
    'with the flag still there it votes',
    () => third.node.serving && third.node.state !== 'observer',
  )
  const resumed = await second.resume(client)
  assert.equal((await ok(resumed.getData('/data'))).data?.toString(), 'x')
})
