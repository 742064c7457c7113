// Bugs on purpose in what is around the consensus core, a line or two each. `find` is text of the compiled code and must
// occur exactly once in `file`; mutants.ts fails if it does not.
import type { Mutation } from '../mutations.ts'

export const mutations: readonly Mutation[] = [
  // ---------------------------------------------------------------- between servers
  {
    name: 'owner check skipped',
    standsFor:
      'what a client asked for at its last server comes not behind what it asks for at the next (SessionMoved)',
    changes: [
      {
        file: 'src/node/leading',
        find: 'session !== 0 && sessions.owners.get(session) !== from && sessions.isOpen(session)',
        replace: 'false',
      },
    ],
  },
  {
    name: 'forwarded requests matched wrongly',
    standsFor: 'an outcome goes to who asked for it',
    changes: [
      {
        file: 'src/node/requests',
        find: 'if (server !== relation.server || session !== relation.session)',
        replace: 'if (session !== relation.session && server !== relation.server)',
      },
      {
        file: 'src/node/requests',
        find: 'i++, this.#head++) {',
        replace: 'i++, this.#head += count > 2 && i === from ? 2 : 1) {',
      },
    ],
  },
  {
    name: 'waiting clients kept at a change of role',
    standsFor: 'whether a request was done is unknown when its leader is gone: its client is disconnected',
    changes: [
      {
        file: 'src/node/node',
        find: 'this.#requests.abandon(waiting);',
        replace: 'this.#requests.abandon(new Set());',
      },
      {
        file: 'src/node/node',
        find: 'this.localSessions.pause();\n            this.sessions.disconnectAll();',
        replace: '',
      },
    ],
  },
  {
    name: 'sync answered without confirmation',
    standsFor: 'a leader that is none any more confirms no sync',
    changes: [
      {
        file: 'src/node/leading',
        find: "handle({ type: 'confirm', id });",
        replace: 'this.confirmed(id, this.#host.tree.zxid);',
      },
    ],
  },
  {
    name: 'sync answered before it is applied here',
    standsFor: 'sync and read shows what was committed before',
    changes: [
      {
        file: 'src/node/syncs',
        find: 'if (sync.zxid === undefined || sync.zxid > applied)',
        replace: 'if (sync.zxid === undefined)',
      },
    ],
  },
  {
    name: 'signs of life not forwarded',
    standsFor: 'the session of a client of a follower lives on while it pings',
    changes: [
      { file: 'src/node/following', find: 'if (touches !== undefined)', replace: 'if (touches === null)' },
    ],
  },
  {
    name: 'no full timeout under a new leader',
    standsFor: 'a new leader heard of nobody yet: every session has its whole time (rule 39)',
    changes: [
      {
        file: 'src/node/session-tracker',
        find: 'this.expiry.restartAll(now);',
        replace: 'this.expiry.restartAll(now - 1e6);',
      },
    ],
  },
  {
    name: 'sessions are never expired',
    standsFor: 'what a client left behind goes with its session',
    changes: [
      { file: 'src/node/leading', find: 'of sessions.expiry.expired(clock.now()))', replace: 'of [])' },
    ],
  },
  {
    name: 'what learners ask for early is dropped',
    standsFor: 'a request that was sent is answered, or its client is disconnected',
    changes: [{ file: 'src/node/leading', find: 'this.#deferred.push([from, message]);', replace: ';' }],
  },
  {
    name: 'the installed snapshot is not adopted',
    standsFor: 'after a snapshot the state is the one that the disk has',
    changes: [
      {
        file: 'src/node/node',
        find: 'this.tree.adopt(tree);\n        this.#recovery',
        replace: 'this.tree.zxid = tree.zxid; this.#recovery',
      },
    ],
  },
  {
    name: 'a session attached before it is applied here',
    standsFor: 'a client sees what it wrote before it turned to this server',
    changes: [
      {
        file: 'src/node/following',
        find: 'if (zxid === undefined || zxid > tree.zxid)',
        replace: 'if (zxid === undefined)',
      },
      {
        file: 'src/server/connection',
        find: 'if (lastSeen > tree.zxid)',
        replace: 'if (lastSeen > tree.zxid + 8)',
      },
    ],
  },
  // ---------------------------------------------------------------- serving
  {
    name: 'served before the replay is done',
    standsFor: 'a server that lags serves nobody',
    changes: [
      {
        file: 'src/node/node',
        find: 'if (this.tree.zxid < role.from || this.#stopping)',
        replace: 'if (this.#stopping)',
      },
      { file: 'src/server/connection', find: 'if (lastSeen > tree.zxid)', replace: 'if (false)' },
    ],
  },
  {
    name: 'lastSeen not checked',
    standsFor: 'no client sees an older state than it has seen (ZooKeeper refuses such a client, too)',
    changes: [{ file: 'src/server/connection', find: 'if (lastSeen > tree.zxid)', replace: 'if (false)' }],
  },
  {
    name: 'a read overtakes a write',
    standsFor: 'the requests of a session are answered in order',
    changes: [
      {
        file: 'src/server/connection',
        find: 'if (isRead(type) || this.#ending) {\n            if (this.outstanding === 0)',
        replace: 'if (isRead(type) || this.#ending) {\n            if (this.outstanding <= 1)',
      },
    ],
  },
  {
    name: 'watch event behind the reply',
    standsFor: 'an event comes before any reply that shows the change',
    changes: [
      {
        file: 'src/node/replica',
        find: 'if (tree.changes.count > 0)\n            this.#fireWatches();',
        replace: '',
      },
      {
        file: 'src/node/replica',
        find: 'applier.reply, arrived);',
        replace: 'applier.reply, arrived); if (tree.changes.count > 0) this.#fireWatches();',
      },
    ],
  },
  {
    name: 'missed changes not told after a reconnect',
    standsFor: 'setWatches tells what was missed (rule 57)',
    changes: [
      { file: 'src/server/watches', find: 'else if (node.pzxid > relativeZxid)', replace: 'else if (false)' },
    ],
  },
  {
    name: 'one-shot watches fire twice',
    standsFor: 'a one-shot watch is gone when it has fired',
    changes: [
      {
        file: 'src/server/watches',
        find: 'const taken = this.#data.take(path);',
        replace: 'const taken = this.#data.get(path);',
      },
    ],
  },
  // ---------------------------------------------------------------- state
  {
    name: 'apply depends on who serves the client',
    standsFor: 'the same history gives the same state everywhere',
    changes: [
      {
        file: 'src/tree/apply',
        find: 'this.#time = batch.time;',
        replace: 'this.#time = batch.time + (wanted ? 1 : 0);',
      },
    ],
  },
  {
    name: 'an ephemeral survives its session',
    standsFor: 'an ephemeral exists if and only if its session is open',
    changes: [
      {
        file: 'src/tree/apply',
        find: 'for (const node of [...owned])',
        replace: 'for (const node of [...owned].slice(0, 2))',
      },
    ],
  },
  {
    name: 'sequence numbers from the present children',
    standsFor: 'a sequence number is given out once',
    changes: [
      {
        file: 'src/tree/apply',
        find: '#appendSequence(buf, start, end, store.cversion(parent))',
        replace: '#appendSequence(buf, start, end, store.numChildren(parent))',
      },
    ],
  },
  {
    name: 'a failed multi is not taken back',
    standsFor: 'a multi is done as a whole or not at all',
    changes: [{ file: 'src/tree/apply', find: 'tree.rollback();', replace: 'tree.commit();' }],
  },
  {
    name: 'a checkpoint in the middle of a change',
    standsFor: 'a checkpoint is exact at its zxid',
    changes: [
      {
        file: 'src/node/checkpointer',
        find: 'const zxid = tree.zxid;',
        replace: 'const zxid = Math.max(tree.zxid - 1, 1);',
      },
    ],
  },
  {
    name: 'session ids given out again',
    standsFor: 'a session id is given out once',
    changes: [
      { file: 'src/node/session-tracker', find: 'return this.#next++;', replace: 'return this.#next;' },
    ],
  },
]
