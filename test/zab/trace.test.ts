// The protocol as a story: what 1, 3 and 5 voters say to each other from the first election to the second leader. The
// expected text is in test/testdata/zab; ZAB_GOLDEN=write writes it anew, to be read as a diff.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Cluster } from '../support/zab-cluster.ts'

const folder = join('test', 'testdata', 'zab')

function compare(name: string, cluster: Cluster): void {
  const text = `${cluster.lines.join('\n')}\n`
  const file = join(folder, name)
  if (process.env['ZAB_GOLDEN'] === 'write') writeFileSync(file, text)
  assert.equal(text, readFileSync(file, 'utf8'))
}

function heading(cluster: Cluster, text: string): void {
  cluster.lines.push('', `# ${text}`)
}

describe('the messages of an ensemble', () => {
  it('of one: none, but the same steps', () => {
    const cluster = new Cluster({ voters: [1] })
    heading(cluster, 'server 1 starts')
    cluster.boot(1)
    cluster.settle()
    heading(cluster, 'a proposal')
    cluster.propose(1, 'a')
    cluster.settle()
    compare('trace-1.txt', cluster)
    assert.deepEqual(cluster.member(1).applied, ['a'])
  })

  it('of three: election, broadcast, the leader dies, comes back with a tail that nobody else has', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    heading(cluster, 'all three start')
    cluster.boot(1, 2, 3)
    cluster.settle()
    heading(cluster, 'two proposals in a row')
    cluster.propose(3, 'a')
    cluster.propose(3, 'b')
    cluster.settle()
    heading(cluster, 'the leader logs an entry, and dies before anybody gets it')
    cluster.hold(3, 1)
    cluster.hold(3, 2)
    cluster.propose(3, 'lost')
    cluster.settle()
    cluster.kill(3)
    cluster.release(3, 1)
    cluster.release(3, 2)
    cluster.settle()
    heading(cluster, 'a proposal of the next leader')
    cluster.propose(2, 'c')
    cluster.settle()
    heading(cluster, 'server 3 comes back: its tail is cut')
    cluster.boot(3)
    cluster.settle()
    heading(cluster, 'half a tick')
    cluster.pass(1000)
    compare('trace-3.txt', cluster)
    for (const id of [1, 2, 3]) assert.deepEqual(cluster.member(id).applied, ['a', 'b', 'c'])
  })

  it('of five, and an observer: a quorum of three is enough, late ones join', () => {
    const cluster = new Cluster({ voters: [1, 2, 3, 4, 5], observers: [6] })
    heading(cluster, 'two start: no quorum')
    cluster.boot(1, 2)
    cluster.settle()
    heading(cluster, 'a third')
    cluster.boot(3)
    cluster.settle()
    heading(cluster, 'a proposal')
    cluster.propose(3, 'a')
    cluster.settle()
    heading(cluster, 'a fourth, and the observer')
    cluster.boot(4, 6)
    cluster.settle()
    heading(cluster, 'a proposal that the observer hears of, too')
    cluster.propose(3, 'b')
    cluster.settle()
    heading(cluster, 'the leader resigns: no time passes until the next one leads')
    cluster.event(3, { type: 'resign' })
    cluster.settle()
    compare('trace-5.txt', cluster)
    assert.equal(cluster.role(4), 'leading broadcast 2')
    for (const id of [1, 2, 3, 4, 6]) assert.deepEqual(cluster.member(id).applied, ['a', 'b'])
  })
})
