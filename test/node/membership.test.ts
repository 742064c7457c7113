import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Code } from '../../src/base/errors.ts'
import type { ServerSpec } from '../../src/config/types.ts'
import {
  formatMembership,
  type Membership,
  membershipOf,
  parseMembership,
  type ReconfigRequest,
  reconfigure,
  votingOf,
} from '../../src/node/membership.ts'
import { quorumOf } from '../../src/zab/quorum.ts'

const server = (id: number, more: Partial<ServerSpec> = {}): ServerSpec => ({
  id,
  host: `host${id}`,
  peerPort: 2888,
  electionPort: 3888,
  observer: false,
  clientHost: '0.0.0.0',
  clientPort: 2181,
  ...more,
})

/** The members of an ensemble; negative ids are observers. */
function members(ids: readonly number[], version = 0x100000000): Membership {
  const servers = ids.map((id) => server(Math.abs(id), { observer: id < 0 }))
  return membershipOf({ servers, groups: new Map(), weights: new Map(), configVersion: version })
}

const none: ReconfigRequest = {
  joining: undefined,
  leaving: undefined,
  newMembers: undefined,
  configId: -1,
}
const options = { standaloneEnabled: true, zxid: 0x200000005 }
const three = members([1, 2, 3])
const line = (id: number) => `server.${id}=host${id}:2888:3888:participant;0.0.0.0:2181`

/** Ids as of `members` after the request, or the code of the refusal. */
function outcome(
  current: Membership,
  request: Partial<ReconfigRequest>,
  more: Partial<typeof options> = {},
): readonly number[] | Code {
  const result = reconfigure(current, { ...none, ...request }, { ...options, ...more })
  if (result.type === 'refused') return result.code
  return result.membership.servers.map(({ id, observer }) => (observer ? -id : id))
}

describe('the text of /zookeeper/config', () => {
  it('is as ZooKeeper writes it', () => {
    const membership = membershipOf({
      servers: [server(10, { observer: true, clientHost: '::1' }), server(2, { clientPort: undefined })],
      groups: new Map(),
      weights: new Map(),
      configVersion: 0x100000002,
    })
    assert.equal(
      formatMembership(membership),
      'server.2=host2:2888:3888:participant\n' +
        'server.10=host10:2888:3888:observer;[::1]:2181\n' +
        'version=100000002',
    )
  })

  it('has groups and then the weights of all voters behind the servers', () => {
    const membership = membershipOf({
      servers: [server(3), server(1), server(2), server(4, { observer: true })],
      groups: new Map([
        [2, [3]],
        [1, [2, 1]],
      ]),
      weights: new Map([[3, 5]]),
      configVersion: 0,
    })
    const text = [
      line(1),
      line(2),
      line(3),
      'server.4=host4:2888:3888:observer;0.0.0.0:2181',
      'group.1=1:2',
      'group.2=3',
      'weight.1=1',
      'weight.2=1',
      'weight.3=5',
      'version=0',
    ].join('\n')
    assert.equal(formatMembership(membership), text)
    assert.deepEqual(parseMembership(text), membership)
  })

  it('shows no port for elections as 0, which clients of ZooKeeper can read', () => {
    const short = membershipOf({
      servers: [server(1, { electionPort: 0 })],
      groups: new Map(),
      weights: new Map(),
      configVersion: 0,
    })
    assert.match(formatMembership(short), /^server\.1=host1:2888:0:participant;0\.0\.0\.0:2181\n/)
  })

  it('is read back to what was written', () => {
    fc.assert(
      fc.property(anyMembership, (membership) => {
        assert.deepEqual(parseMembership(formatMembership(membership)), membership)
      }),
    )
  })

  const wrong: readonly (readonly [text: string, problem: RegExp])[] = [
    ['server.1=h', /no peer port/],
    ['server.1000000000=h:1:2', /"server.1000000000" is not server.N/],
    ['serverr.1=h:1:2', /"serverr.1" is not server.N/],
    ['dataDir=/d', /"dataDir" is not/],
    ['version=xyz', /not a version/],
    [`${line(1)}\nserver.01=h:1:2`, /two lines/],
    [`${line(1)}\ngroup.1=1:x`, /not a group/],
    [`${line(1)}\ngroup.1=2`, /no participant/],
    [`${line(1)}\nweight.1=1`, /in no group/],
    [`${line(1)}\ngroup.1=1\ngroup.2=1`, /two groups/],
    [`${line(1)}\ngroup.1=1\nweight.1=-1`, /not a weight/],
    [`${line(1)}\ngroup.1=1\nweight.1=0`, /all weights are 0/],
    ['server.1=\\u12', /malformed/],
  ]
  for (const [text, problem] of wrong) {
    it(`is refused: ${JSON.stringify(text)}`, () => {
      const result = parseMembership(text)
      assert.ok(typeof result === 'string')
      assert.match(result, problem)
    })
  }
})

describe('who votes', () => {
  it('are the participants, by id', () => {
    assert.deepEqual(votingOf(members([3, -2, 1])), { voters: [1, 3], groups: [], weights: [] })
  })

  it('has groups, and the weights that are not 1', () => {
    const text = [1, 2, 3, 4].map(line).join('\n')
    const membership = parseMembership(`${text}\ngroup.7=4:3\ngroup.5=2:1\nweight.1=0\nweight.2=1`)
    assert.ok(typeof membership !== 'string')
    const voting = votingOf(membership)
    const groups = [
      [1, 2],
      [3, 4],
    ]
    assert.deepEqual(voting, { voters: [1, 2, 3, 4], groups, weights: [[1, 0]] })
    assert.equal(
      quorumOf(voting).contains((id) => id > 1),
      true,
    )
  })
})

describe('an incremental reconfiguration', () => {
  const taken: readonly (readonly [
    string,
    Membership,
    Partial<ReconfigRequest>,
    readonly number[],
    boolean?,
  ])[] = [
    ['adds a server', three, { joining: line(4) }, [1, 2, 3, 4]],
    ['adds several', three, { joining: `${line(5)},${line(4)}` }, [1, 2, 3, 4, 5]],
    ['adds an observer', three, { joining: 'server.4=h:2888:3888:observer;2181' }, [1, 2, 3, -4]],
    ['makes an observer a participant', members([1, 2, -3]), { joining: line(3) }, [1, 2, 3]],
    ['removes servers', members([1, 2, 3, 4]), { leaving: '1, 4' }, [2, 3]],
    ['removes one that is not there', three, { leaving: '7' }, [1, 2, 3]],
    [
      'replaces one by another at its address',
      three,
      { leaving: '3', joining: line(3).replace('.3', '.9') },
      [1, 2, 9],
    ],
    ['removes before it adds', three, { leaving: '3', joining: line(3) }, [1, 2, 3]],
    ['changes nothing but the version', three, {}, [1, 2, 3]],
    [
      'takes blanks and empty parts',
      three,
      { joining: ` , server.4 = h:1:2;3 ,`, leaving: '' },
      [1, 2, 3, 4],
    ],
    ['takes an id without "server."', three, { joining: '4=h:1:2;3' }, [1, 2, 3, 4]],
    ["takes zabd's short form", three, { joining: 'server.4=h:2888;2181' }, [1, 2, 3, 4]],
    ['leaves one voter if a lone server need not be standalone', three, { leaving: '1,2' }, [3], false],
    [
      'takes loopback addresses that others have, too',
      local(),
      { joining: 'server.3=localhost:1:2;3' },
      [1, 2, 3],
    ],
  ]
  for (const [fact, current, request, expected, standaloneEnabled = true] of taken) {
    it(fact, () => assert.deepEqual(outcome(current, request, { standaloneEnabled }), expected))
  }

  const refusals: readonly (readonly [string, Membership, Partial<ReconfigRequest>, boolean?])[] = [
    ['a line without a client port', three, { joining: 'server.4=h:2888:3888' }],
    ['a line without ports', three, { joining: 'server.4=h' }],
    ['a line without a value', three, { joining: 'server.4=' }],
    ['a line with another =', three, { joining: 'server.4=h:1:2;3=4' }],
    ['a line of no server', three, { joining: 'server.x=h:1:2;3' }],
    ['an id that is too high', three, { joining: 'server.1000000000=h:1:2;3' }],
    ['a leaving server that is no number', three, { leaving: 'server.3' }],
    ['an address that another has', three, { joining: 'server.4=HOST3:2888:3888;2181' }],
    ['a port that another has', three, { joining: 'server.4=host3:3888:3;2181' }],
    ['fewer than two voters', three, { leaving: '1,2' }],
    ['observers alone', members([1, -2]), { leaving: '1' }, false],
    ['no servers', three, { leaving: '1,2,3' }, false],
    ['any, while there are groups', grouped(), { leaving: '3' }],
  ]
  for (const [fact, current, request, standaloneEnabled = true] of refusals) {
    it(`is refused with ${fact}`, () => {
      assert.equal(outcome(current, request, { standaloneEnabled }), Code.badArguments)
    })
  }

  it('is of the version of its transaction, and leaves the rest of a membership as it is', () => {
    const result = reconfigure(three, { ...none, joining: line(4) }, options)
    assert.deepEqual(result, { type: 'next', membership: members([1, 2, 3, 4], options.zxid) })
  })

  it('does as a map of servers would', () => {
    const ids = fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { maxLength: 6 })
    const signed = fc
      .uniqueArray(fc.integer({ min: 0, max: 9 }), { maxLength: 6 })
      .chain((list) => fc.tuple(...list.map((id) => fc.boolean().map((observer) => ({ id, observer })))))
    const current = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 6 })
    fc.assert(
      fc.property(current, signed, ids, (before, joiners, leavers) => {
        const model = new Map(before.map((id) => [id, false]))
        for (const id of leavers) model.delete(id)
        for (const { id, observer } of joiners) model.set(id, observer)
        const joining = joiners.map(
          ({ id, observer }) =>
            `server.${id}=host${id}:2888:3888:${observer ? 'observer' : 'participant'};2181`,
        )
        const request = { joining: joining.join(','), leaving: leavers.join(',') }
        const result = reconfigure(members(before), { ...none, ...request }, options)
        const voters = [...model].filter(([, observer]) => !observer).map(([id]) => id)
        if (voters.length < 2)
          return assert.ok(result.type === 'refused' && result.code === Code.badArguments)
        assert.ok(result.type === 'next')
        const seen = result.membership.servers.map(({ id, observer }) => [id, observer])
        assert.deepEqual(
          seen,
          [...model].sort(([a], [b]) => a - b),
        )
        assert.deepEqual(
          votingOf(result.membership).voters,
          voters.sort((a, b) => a - b),
        )
        assert.deepEqual(parseMembership(formatMembership(result.membership)), result.membership)
      }),
    )
  })
})

describe('a full reconfiguration', () => {
  it('takes lines with commas or line ends between, and not the other two fields', () => {
    for (const separator of [',', '\n', ',\n']) {
      const newMembers = [2, 4, 3].map(line).join(separator)
      assert.deepEqual(outcome(three, { newMembers, leaving: '2', joining: 'nonsense' }), [2, 3, 4])
    }
  })

  it('may bring groups and take them away', () => {
    const groups = 'group.1=1,group.2=2,group.3=3,weight.3=2'
    const result = reconfigure(three, { ...none, newMembers: `${[1, 2, 3].map(line)},${groups}` }, options)
    assert.ok(result.type === 'next')
    assert.deepEqual(votingOf(result.membership), {
      voters: [1, 2, 3],
      groups: [[1], [2], [3]],
      weights: [[3, 2]],
    })
    assert.deepEqual(outcome(result.membership, { newMembers: [1, 2, 3].map(line).join() }), [1, 2, 3])
  })

  it('needs no client ports, and has its own version whatever the text says', () => {
    const newMembers = 'server.1=a:1:2\nserver.2=b:1:2\nversion=77'
    const result = reconfigure(three, { ...none, newMembers }, options)
    assert.ok(result.type === 'next')
    assert.equal(result.membership.version, options.zxid)
  })

  for (const newMembers of ['', 'nonsense', line(1), `${line(1)},dataDir=/d`, `${line(1)},server.2=h`]) {
    it(`is refused: ${JSON.stringify(newMembers)}`, () => {
      assert.equal(outcome(three, { newMembers }), Code.badArguments)
    })
  }

  it('to the present text changes the version only', () => {
    fc.assert(
      fc.property(anyMembership, (membership) => {
        const request = { ...none, newMembers: formatMembership(membership) }
        const result = reconfigure(membership, request, { standaloneEnabled: false, zxid: 9 })
        const voters = membership.servers.filter(({ observer }) => !observer)
        if (voters.length === 0) assert.equal(result.type, 'refused')
        else assert.deepEqual(result, { type: 'next', membership: { ...membership, version: 9 } })
      }),
    )
  })
})

describe('a reconfiguration', () => {
  it('of another version is refused before it is looked at', () => {
    assert.equal(outcome(three, { configId: 5, newMembers: 'nonsense' }), Code.badVersion)
    assert.deepEqual(outcome(three, { configId: 0x100000000 }), [1, 2, 3])
  })

  it('of any text is refused with -8 or gives a membership that can be written and read', () => {
    const piece = fc.constantFrom(
      ...'server. group. weight. 1 2 3 300 = : ; , \n host [::1] :2888:3888 ;2181 version observer \\u'.split(
        ' ',
      ),
    )
    const text = fc.option(
      fc.oneof(
        fc.string(),
        fc.array(piece).map((pieces) => pieces.join('')),
      ),
      { nil: undefined },
    )
    fc.assert(
      fc.property(text, text, text, (joining, leaving, newMembers) => {
        const result = reconfigure(three, { joining, leaving, newMembers, configId: -1 }, options)
        if (result.type === 'refused') return assert.equal(result.code, Code.badArguments)
        assert.ok(votingOf(result.membership).voters.length >= 2)
        assert.deepEqual(parseMembership(formatMembership(result.membership)), result.membership)
      }),
      { numRuns: 500 },
    )
  })
})

function local(): Membership {
  const servers = [1, 2].map((id) => server(id, { host: 'localhost', peerPort: 1, electionPort: 2 }))
  return membershipOf({ servers, groups: new Map(), weights: new Map(), configVersion: 0 })
}

function grouped(): Membership {
  const groups = new Map([[1, [1, 2, 3]]])
  return membershipOf({ servers: three.servers, groups, weights: new Map(), configVersion: 0 })
}

/** Any membership that keeps the rules. */
const anyMembership: fc.Arbitrary<Membership> = fc
  .record({
    ids: fc.uniqueArray(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 8 }),
    observers: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
    clients: fc.array(fc.option(fc.constantFrom('0.0.0.0', 'h', '::1'), { nil: undefined }), {
      minLength: 8,
      maxLength: 8,
    }),
    groupOf: fc.option(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 8, maxLength: 8 }), {
      nil: undefined,
    }),
    weights: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 8, maxLength: 8 }),
    version: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  })
  .map(({ ids, observers, clients, groupOf, weights, version }) => {
    const servers = ids.map((id, i) => {
      const clientHost = clients[i]
      const clientPort = clientHost === undefined ? undefined : 2181
      return server(id, { observer: observers[i] === true, clientHost, clientPort })
    })
    const groups = new Map<number, number[]>()
    for (const [i, { id, observer }] of servers.entries()) {
      const group = groupOf?.[i]
      if (group !== undefined && !observer) groups.set(group, [...(groups.get(group) ?? []), id])
    }
    const weightOf = new Map(ids.map((id, i) => [id, weights[i] ?? 1]))
    const voters = servers.filter(({ observer }) => !observer)
    // Something must have weight.
    if (voters[0] !== undefined) weightOf.set(voters[0].id, 2)
    return membershipOf({ servers, groups, weights: weightOf, configVersion: version })
  })
