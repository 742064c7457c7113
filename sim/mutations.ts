// Bugs on purpose, one line or two each, most of them bugs that ZooKeeper had or that its papers warn of. `find` is text
// of the compiled code and must occur exactly once in `file`; mutants.ts fails if it does not.

export type Mutation = {
  readonly name: string
  /** What rule of the protocol it breaks, or which known bug it is. */
  readonly standsFor: string
  readonly changes: readonly { readonly file: string; readonly find: string; readonly replace: string }[]
}

export const mutations: readonly Mutation[] = [
  {
    name: 'ack before durable',
    standsFor: 'an ack means that the entry is on disk',
    changes: [
      {
        file: 'src/zab/follow',
        find: 'appendEntry(core, entry, undefined);',
        replace:
          "appendEntry(core, entry, undefined); send(core, role.leader, { type: 'ack', session: role.session, zxid: entry.last });",
      },
    ],
  },
  {
    name: 'leader counts itself before durable',
    standsFor: "the leader's own ack, too",
    changes: [
      {
        file: 'src/zab/broadcast',
        find: 'return role.adopted ? core.history.durable : -1;',
        replace: 'return endOf(core.history);',
      },
    ],
  },
  {
    name: 'leader counts itself before it adopted',
    standsFor: "the leader's own current epoch is durable before its log counts",
    changes: [
      {
        file: 'src/zab/broadcast',
        find: 'return role.adopted ? core.history.durable : -1;',
        replace: 'return core.history.durable;',
      },
    ],
  },
  {
    name: 'commit with a minority',
    standsFor: 'a commit needs a quorum',
    changes: [
      {
        file: 'src/zab/quorum',
        find: 'sunk[needed - 1]',
        replace: 'sunk[Math.max(0, needed - 2)]',
      },
    ],
  },
  {
    name: 'election with a minority',
    standsFor: 'quorums intersect',
    changes: [
      {
        file: 'src/zab/quorum',
        find: 'Math.floor(sorted.length / 2) + 1',
        replace: 'Math.max(1, Math.floor(sorted.length / 2))',
      },
    ],
  },
  {
    name: 'skip truncate',
    standsFor: 'TRUNC must reach the disk',
    changes: [
      {
        file: 'src/zab/state',
        find: "emit(core, { type: 'truncate', zxid });",
        replace: 'core.truncating = false;',
      },
    ],
  },
  {
    name: 'forget the accepted epoch',
    standsFor: 'a promise is on disk before it is given (f.p)',
    changes: [
      {
        file: 'src/zab/follow',
        find: 'saveEpochs(core, { accepted: epoch, current });',
        replace: 'ackEpoch(core, role, current);',
      },
    ],
  },
  {
    name: 'leader forgets its promise',
    standsFor: '1291: acceptedEpoch stored before LEADERINFO',
    changes: [
      {
        file: 'src/zab/discovery',
        find: 'saveEpochs(core, { accepted: role.epoch, current: core.epochs.current });',
        replace: 'onOwnPromise(core, role);',
      },
    ],
  },
  {
    name: 'current epoch before history',
    standsFor: '4643: currentEpoch stored before the synced entries are durable',
    changes: [
      {
        file: 'src/zab/follow',
        find: 'if (core.truncating || core.history.durable < role.adoptAt)',
        replace: 'if (false)',
      },
      {
        file: 'src/zab/follow',
        find: 'if (role.adopting)\n',
        replace: 'if (role.adopting) later(core, role); else if (false)\n',
      },
      {
        file: 'src/zab/follow',
        find: 'export function adopt(core, role) {',
        replace: 'export function adopt(core, role) { if (role.adopting) later(core, role);',
      },
      {
        file: 'src/zab/follow',
        find: 'function ackEpoch(',
        replace: `function later(core, role) {
          if (core.epochs.current !== role.epoch || core.truncating || core.history.durable < role.adoptAt) return;
          send(core, role.leader, { type: 'ackNewLeader', session: role.session });
        }
        function ackEpoch(`,
      },
      {
        file: 'src/zab/follow',
        find: '    else\n        ackEpoch(core, role, epochs.current);',
        replace: '    if (!role.adopting)\n        ackEpoch(core, role, epochs.current);',
      },
    ],
  },
  {
    name: 'newLeader acked before durable',
    standsFor: '3911, 4646, 4785: the ack means that the history is on disk',
    changes: [
      {
        file: 'src/zab/follow',
        find: 'role.adoptAt = endOf(core.history);',
        replace: "role.adoptAt = endOf(core.history); send(core, leader, { type: 'ackNewLeader', session });",
      },
    ],
  },
  {
    name: 'newLeader acked before current epoch',
    standsFor: '1282: currentEpoch durable before the ack',
    changes: [
      {
        file: 'src/zab/follow',
        find: 'role.adopting = true;',
        replace:
          "role.adopting = true; send(core, role.leader, { type: 'ackNewLeader', session: role.session });",
      },
    ],
  },
  {
    name: 'newLeader before the history',
    standsFor: '3104: NEWLEADER is sent after all sync data',
    changes: [
      {
        file: 'src/zab/progress',
        find: "send(core, learner.id, { type: 'diff', session: learner.session, after });",
        replace: `send(core, learner.id, { type: 'diff', session: learner.session, after });
        learner.newLeaderSent = true;
        send(core, learner.id, { type: 'newLeader', session: learner.session, epoch: role.epoch });`,
      },
    ],
  },
  {
    name: 'acks of unsynced learners count',
    standsFor: 'an ack counts only after the one of newLeader',
    changes: [
      {
        file: 'src/zab/broadcast',
        find: 'learner.synced ? learner.acked : -1',
        replace: "learner.state === 'streaming' ? learner.acked : -1",
      },
      {
        file: 'src/zab/broadcast',
        find: "role.phase === 'broadcast' && learner.synced",
        replace: "role.phase === 'broadcast'",
      },
    ],
  },
  {
    name: 'leader commits old entries early',
    standsFor: 'the initial history is committed by a quorum that adopted it',
    changes: [
      { file: 'src/zab/sync', find: 'if (!core.quorum.contains(adopted))', replace: 'if (!role.adopted)' },
    ],
  },
  {
    name: 'nobody is ahead',
    standsFor: 'the leader checks that no ACKEPOCH is more recent than itself',
    changes: [
      { file: 'src/zab/discovery', find: 'if (isAhead(core, ack))', replace: 'if (false)' },
      {
        file: 'src/zab/election',
        find: 'return status.current > current || (status.current === current && status.last >= end);',
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'election ignores history',
    standsFor: 'and so do the votes',
    changes: [
      { file: 'src/zab/discovery', find: 'if (isAhead(core, ack))', replace: 'if (false)' },
      { file: 'src/zab/election', find: 'if (a.last !== b.last)', replace: 'if (false)' },
    ],
  },
  {
    name: 'any snapshot for a diverged server',
    standsFor: 'not one below what its log makes durable',
    changes: [
      { file: 'src/zab/sync', find: 'if (core.committed >= atLeast)', replace: 'if (true)' },
      {
        file: 'src/zab/sync',
        find: 'Math.max(Math.min(takenForCommitted(role), learner.last), core.history.trimmedTo)',
        replace: 'core.history.trimmedTo',
      },
    ],
  },
  {
    name: 'election ignores epoch',
    standsFor: '335: votes by zxid alone',
    changes: [{ file: 'src/zab/election', find: 'if (a.current !== b.current)', replace: 'if (false)' }],
  },
  {
    name: 'recency ignores epoch',
    standsFor: '335, 1154: so does the check of ACKEPOCH',
    changes: [
      { file: 'src/zab/election', find: 'if (a.current !== b.current)', replace: 'if (false)' },
      {
        file: 'src/zab/discovery',
        find: 'return ack.current > current || (ack.current === current && ack.last > endOf(core.history));',
        replace: 'return ack.last > endOf(core.history);',
      },
    ],
  },
  {
    name: 'a gap is accepted',
    standsFor: '2355, 2846: contiguity of the log, spec issue 1',
    changes: [
      {
        file: 'src/zab/progress',
        find: 'learner.sent = after;',
        replace: 'learner.sent = endOf(core.history);',
      },
      { file: 'src/zab/follow', find: 'entry.prev !== endOf(core.history)', replace: 'false' },
      { file: 'src/zab/history', find: 'entry.prev === endOf(history)', replace: 'true' },
    ],
  },
  {
    name: 'follows a deposed leader',
    standsFor: 'an epoch below the promised one is refused',
    changes: [
      {
        file: 'src/zab/follow',
        find: 'if (epoch < accepted) {',
        replace: 'if (epoch < accepted) { role.epoch = epoch; ackEpoch(core, role, current); return;',
      },
      {
        file: 'src/zab/discovery',
        find: 'if (isTooLow(core, role, learner))',
        replace: 'if (false)',
      },
    ],
  },
  {
    name: 'stale sessions are heard',
    standsFor: 'messages of an earlier relation over the same connection',
    changes: [
      { file: 'src/zab/core', find: 'learner.session !== message.session', replace: 'false' },
      { file: 'src/zab/core', find: 'role.session === message.session', replace: 'true' },
    ],
  },
  {
    name: 'new role before the disk is at rest',
    standsFor: '4712: the old role writes into the new one',
    changes: [
      { file: 'src/zab/core', find: 'core.started && atRest(core)', replace: 'core.started' },
      { file: 'src/zab/status', find: 'atRest(core) &&', replace: '' },
    ],
  },
  {
    name: 'snapshot where a cut would do',
    standsFor: 'a snapshot must not take durable committed entries away',
    changes: [{ file: 'src/zab/progress', find: 'if (mine === undefined)', replace: 'if (mine !== theirs)' }],
  },
  {
    name: 'deliver before durable',
    standsFor: 'a checkpoint is never ahead of the log',
    changes: [{ file: 'src/zab/state', find: 'Math.min(zxid, core.history.durable)', replace: 'zxid' }],
  },
  {
    name: 'apply twice',
    standsFor: 'every entry is delivered once',
    changes: [
      {
        file: 'sim/server',
        find: 'this.disk.after(this.applied)',
        replace: 'this.disk.after(this.applied - 1)',
      },
    ],
  },
  {
    name: 'counter overflows',
    standsFor: '1277: the epoch ends before its counter does',
    changes: [
      { file: 'src/zab/broadcast', find: 'if (role.counter + count > maxCounter)', replace: 'if (false)' },
    ],
  },
  {
    name: 'confirm without a quorum',
    standsFor: 'a leader that is cut off must not confirm',
    changes: [
      {
        file: 'src/zab/heartbeat',
        find: '|| !hasAnswered(core, role, confirming.seq)',
        replace: '|| false',
      },
    ],
  },
  {
    name: 'confirm what the leader knows of',
    standsFor: 'learners deliver before the leader knows that a quorum has it',
    changes: [
      {
        file: 'src/zab/heartbeat',
        find: 'confirming.zxid = takenForCommitted(role);',
        replace: 'confirming.zxid = role.committed;',
      },
    ],
  },
  {
    name: 'learners need nobody',
    standsFor: "what a learner is told is on a quorum's disks with its own",
    changes: [
      {
        file: 'src/zab/broadcast',
        find: 'const reached = quorum.reached(ofVoters);',
        replace: 'ofVoters.fill(sent);\n    const reached = quorum.reached(ofVoters);',
      },
    ],
  },
  {
    name: 'new voting at once and alone',
    standsFor: 'from its appending to its commit a voting stands beside the one before it',
    changes: [
      { file: 'src/zab/voting', find: 'done || again ? next : joint(old, next)', replace: 'next' },
      { file: 'src/zab/broadcast', find: 'return core.quorum.votings.length > 1;', replace: 'return false;' },
    ],
  },
  {
    name: 'new voting only at its commit',
    standsFor: 'and counts from its appending on',
    changes: [
      {
        file: 'src/zab/voting',
        find: 'done || again ? next : joint(old, next)',
        replace: 'done ? next : old',
      },
      {
        file: 'src/zab/broadcast',
        find: 'return core.quorum.votings.length > 1;',
        replace: 'return !core.inForce.committed;',
      },
    ],
  },
  {
    name: 'two reconfigurations at a time',
    standsFor: 'one is committed before the next is proposed',
    changes: [
      { file: 'src/zab/broadcast', find: 'return core.quorum.votings.length > 1;', replace: 'return false;' },
    ],
  },
  {
    name: 'a voting that is cut away stays',
    standsFor: 'who votes is what the history says',
    changes: [
      {
        file: 'src/zab/history',
        find: '.zxid > zxid)\n        votings.pop();',
        replace: '.zxid < 0)\n        votings.pop();',
      },
    ],
  },
  {
    name: 'a snapshot without its voting',
    standsFor: 'a snapshot brings who votes',
    changes: [{ file: 'src/zab/history', find: 'voting === undefined ? [] : [voting]', replace: '[]' }],
  },
  {
    name: 'a restart takes the newest voting for committed',
    standsFor: 'what was not known to be committed is not after a crash',
    changes: [
      {
        file: 'src/zab/core',
        find: 'inForce(quorum, votings, applied)',
        replace: 'inForce(quorum, votings, end)',
      },
    ],
  },
  {
    name: 'the first voting is not written down',
    standsFor: 'a joiner does not know from its own configuration who voted before',
    changes: [
      {
        file: 'src/zab/broadcast',
        find: 'core.history.votings.length === 0 ? core.inForce.voting : undefined',
        replace: 'undefined',
      },
    ],
  },
  {
    name: 'votings are not settled',
    standsFor: 'servers that do not vote any more may be gone for good',
    changes: [
      { file: 'src/zab/broadcast', find: "emit(core, { type: 'settle', voting });", replace: '' },
      {
        file: 'src/zab/voting',
        find: 'settled: done && again && earlier !== undefined',
        replace: 'settled: done',
      },
    ],
  },
  {
    name: 'nobody tells that a voting is committed',
    standsFor: 'a removed server does not leave the others waiting for its vote',
    changes: [{ file: 'src/zab/core', find: 'hearOfVoting(core, message.committedVoting);', replace: '' }],
  },
  {
    name: 'a removed leader goes on',
    standsFor: 'who does not vote does not lead',
    changes: [
      { file: 'src/zab/broadcast', find: 'if (!core.quorum.mayLead(core.id))', replace: 'if (false)' },
    ],
  },
  {
    name: 'a voter judges by its own voting',
    standsFor: 'a server votes before it knows that it is a voter',
    changes: [
      {
        file: 'src/zab/election',
        find: 'if (!quorum.voters.includes(core.id))',
        replace: 'if (!core.quorum.voters.includes(core.id))',
      },
    ],
  },
  {
    name: 'blank voters count',
    standsFor: 'a server that lost its disk elects nobody who lacks what it acknowledged',
    changes: [{ file: 'src/zab/state', find: 'return core.epochs.current === 0;', replace: 'return false;' }],
  },
  {
    name: 'blank voters promise',
    standsFor: 'nor does its promise count',
    changes: [
      {
        file: 'src/zab/discovery',
        find: 'if (learner.blank && !takesBlank(core, ack.last))',
        replace: 'if (false)',
      },
      {
        file: 'src/zab/election',
        find: "return status.blanks === 'any' || (status.blanks === 'empty' && end === 0);",
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'half a history is a memory',
    standsFor: 'a server is blank until it has adopted a history, not until it has some of one',
    changes: [
      {
        file: 'src/zab/state',
        find: 'return core.epochs.current === 0;',
        replace: 'return core.epochs.current === 0 && endOf(core.history) === 0;',
      },
    ],
  },
  {
    name: 'a blank server joins any leader',
    standsFor: 'one that a quorum has confirmed since it came',
    changes: [
      {
        file: 'src/zab/sync',
        find: 'if (learner.blank && !admitsBlank(core, role, learner))',
        replace: 'if (false)',
      },
    ],
  },
  {
    name: 'a server that was alone is nobody special',
    standsFor: 'a standalone server becomes an ensemble with all it has',
    changes: [{ file: 'src/zab/core', find: 'options.alone ?? false', replace: 'false' }],
  },
  {
    name: 'a divergence is forgotten in a crash',
    standsFor: 'only a snapshot makes a diverged server electable',
    changes: [{ file: 'src/zab/core', find: 'options.needsSnapshot ?? false', replace: 'false' }],
  },
]
