// The role of the leader, a standalone server's included: requests of its own clients and of learners become proposals in
// the order they came; sessions expire here; syncs are confirmed by a quorum; reconfigurations are judged; states compared.
import { Code } from '../base/errors.ts'
import { Op } from '../base/opcodes.ts'
import { formatZxid } from '../base/zxid.ts'
import { Writer } from '../jute/writer.ts'
import type { Claim, DigestReport, Forward, PeerMessage, SyncRequest, Touches } from '../peers/messages.ts'
import { PeerFault } from '../peers/types.ts'
import { type Connection, formatSession } from '../server/connection.ts'
import type { Id } from '../tree/acl.ts'
import { Batch } from '../tree/batch.ts'
import { canReconfigure, mayPropose, unwrittenVoting, zxidAfter } from '../zab/core.ts'
import type { Event } from '../zab/events.ts'
import type { Leading } from '../zab/state.ts'
import type { Voting } from '../zab/types.ts'
import type { Timer } from './clock.ts'
import { DigestVote, type Verdict } from './digest-vote.ts'
import { type JudgedReconfig, refused } from './members.ts'
import { Reaper } from './reaper.ts'
import type { Digest } from './replica.ts'
import { type ClientRequest, entryBytesMax, type Role, type RoleHost } from './role.ts'

/** Rules version of this release (DESIGN 2.8). */
const rulesVersion = 1

const noIds: readonly Id[] = []
const noBytes = Buffer.alloc(0)

type FromLearner = Forward | SyncRequest | Claim | Touches | DigestReport

/** A learner's sync that a quorum is to confirm. */
type RemoteSync = {
  readonly server: number
  readonly session: number
  readonly id: number
  readonly atLeast: number
}

/** A session that a client says it has and that is not open yet, and what must be applied before that is certain. */
type UnknownSession = {
  readonly zxid: number
  /** Undefined: of a learner. */
  readonly connection: Connection | undefined
  readonly answer: () => void
}

/** A round of confirmation: who asked. */
type Round = { readonly local: number | undefined; readonly remote: readonly RemoteSync[] }

/** The learner that a request comes from; undefined for this server's own. */
type Sender = { readonly server: number; readonly session: number } | undefined

/** See file header. */
export class LeadingRole implements Role {
  readonly leader: number
  readonly from: number
  readonly #host: RoleHost
  readonly #leading: Leading
  readonly #digestVote: DigestVote
  readonly #reaper: Reaper
  #acting = false
  /** What the core has asked to settle before this leader acted. */
  #unsettled: Voting | undefined
  #over = false
  /** What learners asked for before this leader acts. None of it may be left out. */
  #deferred: [from: number, message: FromLearner][] = []
  /** Of learners that sent a reconfig: it, and what came behind it, wait until everything proposed before is applied here. */
  readonly #held = new Map<number, { readonly until: number; readonly messages: FromLearner[] }>()
  #remoteSyncs: RemoteSync[] = []
  readonly #unknown: UnknownSession[] = []
  readonly #rounds = new Map<number, Round>()
  #roundId = 0
  readonly #verdicts: Verdict[] = []
  #expiryTick: Timer | undefined

  constructor(host: RoleHost, leading: Leading) {
    const { core, tree, clock, config } = host
    this.#host = host
    this.#leading = leading
    this.leader = core.id
    this.from = core.committed
    const follows = (id: number) => this.learnerSession(id) !== undefined
    this.#digestVote = new DigestVote(core.id, () => core.quorum, follows)
    this.#reaper = new Reaper({
      tree,
      clock,
      settings: config.container,
      remove: (path) => this.#propose(Op.deleteContainer, 0, pathBody(path)),
      ready: () => this.#acting,
    })
  }

  act(): void {
    const { sessions, clock, tree } = this.#host
    this.#acting = true
    sessions.lead(clock.now(), clock.wall())
    if (tree.settings === undefined) this.#proposeSettings()
    else this.#proposeConfiguration()
    this.#planExpiry()
    this.#reaper.start()
    if (this.#unsettled !== undefined) this.proposeVoting(this.#unsettled)
    for (const [from, message] of this.#deferred.splice(0))
      if (!this.#over) this.#receivedFromLearner(from, message)
  }

  /** The leader is about to hand over: nothing new is proposed. */
  rest(): void {
    this.#acting = false
    this.#reaper.stop()
    this.#expiryTick?.cancel()
  }

  end(waiting: Set<Connection>): void {
    this.rest()
    for (const { connection } of this.#unknown.splice(0))
      if (connection !== undefined) waiting.add(connection)
    this.#over = true
    this.#deferred = []
    this.#held.clear()
    this.#rounds.clear()
  }

  /** The session of a learner that is up to date; undefined for others. */
  learnerSession(id: number): number | undefined {
    return this.#leading.learners.find((learner) => learner.id === id && learner.active)?.session
  }

  /** Syncs of learners' clients that wait for the quorum. */
  get pendingSyncs(): number {
    let count = this.#remoteSyncs.length
    for (const { remote } of this.#rounds.values()) count += remote.length
    return count
  }

  // ---------------------------------------------------------------- requests

  /** A proposal of the server's own. */
  #propose(kind: number, session: number, body: Buffer): void {
    const { requests, planTurn } = this.#host
    this.admit(kind, session)
    requests.add(kind, session, 0, noIds, body, 0, body.length, undefined, 0)
    planTurn()
  }

  admit(kind: number, session: number): void {
    if (kind === Op.closeSession) this.#host.sessions.closeProposed(session)
  }

  /** What comes together to more than one entry should have is proposed at once. */
  gathered(): void {
    if (this.#host.requests.size > entryBytesMax) this.#proposeRequests(undefined)
  }

  readonly reconfigure = (request: ClientRequest) => this.#reconfigure(request, undefined)

  get proposedUpTo(): number {
    return zxidAfter(this.#host.core, this.#host.requests.count)
  }

  sendRequests(): void {
    const { requests, hasRoom } = this.#host
    if (requests.count > 0 && hasRoom()) this.#proposeRequests(undefined)
    if (!this.#over) this.#confirm()
  }

  /** Proposes what has gathered as one entry. */
  #proposeRequests(voting: Voting | undefined): void {
    const { requests, stats, clock, handle } = this.#host
    const proposed = requests.take(clock.wall())
    const { bytes } = proposed
    const { count } = proposed.batch
    const event: Event = { type: 'propose', count, bytes, origin: proposed }
    stats.proposed(count, bytes.length)
    handle(voting === undefined ? event : { ...event, voting })
    // The epoch has no room for it: the core has given the role up, and who waited was not among its proposals yet.
    if (this.#over) for (const connection of proposed.origins.connections) connection?.destroy()
  }

  claim(session: number, connection: Connection): void {
    this.#whenKnown(session, connection, () => {
      const open = this.#host.sessions.isOpen(session)
      if (open) this.#own(session, undefined)
      connection.claimed(open)
    })
  }

  /**
   * Answers whether a session is open. One that is not may be about to be: its opening is on its way, or not applied here as
   * it is elsewhere. Then the answer waits for what is on its way now.
   */
  #whenKnown(session: number, connection: Connection | undefined, answer: () => void): void {
    const { sessions, tree } = this.#host
    const zxid = this.proposedUpTo
    if (sessions.isOpen(session) || sessions.closing.has(session) || zxid <= tree.zxid) answer()
    else this.#unknown.push({ zxid, connection, answer })
  }

  #answerUnknown(): void {
    const { tree } = this.#host
    for (let next = this.#unknown[0]; next !== undefined && next.zxid <= tree.zxid; next = this.#unknown[0]) {
      this.#unknown.shift()
      next.answer()
    }
  }

  /** The session's client is at `learner` now, undefined: here. Whoever had it before lets it go. */
  #own(session: number, learner: number | undefined): void {
    const { sessions, peers } = this.#host
    const before = sessions.owners.get(session)
    if (learner === undefined) {
      sessions.owners.delete(session)
    } else {
      sessions.owners.set(session, learner)
      sessions.moved(session)
    }
    if (before === undefined || before === learner) return
    const relation = this.learnerSession(before)
    if (relation !== undefined) peers.send(before, { type: 'moved', session: relation, client: session })
  }

  // ---------------------------------------------------------------- learners

  received(from: number, message: PeerMessage): void {
    switch (message.type) {
      case 'forward':
      case 'sync':
      case 'claim':
      case 'touches':
      case 'digest':
        if (this.learnerSession(from) !== message.session) break
        // Learners may be up to date before the leader has read its own log.
        if (this.#acting) this.#receivedFromLearner(from, message)
        else this.#deferred.push([from, message])
        break
      case 'installed':
      case 'followerInfo':
        // It has another state now, or comes with what its disk has made of it: nothing is known of that.
        this.#digestVote.forget(from)
        this.#held.delete(from)
    }
  }

  #receivedFromLearner(from: number, message: FromLearner): void {
    const { clock, sessions } = this.#host
    const held = this.#held.get(from)
    if (held !== undefined) {
      held.messages.push(message)
      return
    }
    switch (message.type) {
      case 'forward':
        this.#receivedRequests(from, message)
        break
      case 'sync': {
        const { session, id } = message
        this.#remoteSyncs.push({ server: from, session, id, atLeast: this.proposedUpTo })
        break
      }
      case 'claim':
        this.#receivedClaim(from, message)
        break
      case 'touches':
        sessions.touchAll(from, message.clients, message.timeouts, clock.now())
        break
      case 'digest':
        this.#judge(this.#digestVote.report(from, message))
    }
  }

  #receivedClaim(from: number, { session, id, client, timeoutMs }: Claim): void {
    this.#whenKnown(client, undefined, () => {
      const { sessions, clock, peers, tree } = this.#host
      if (this.learnerSession(from) !== session) return
      const open = sessions.isOpen(client)
      if (open) {
        this.#own(client, from)
        sessions.touch(client, timeoutMs, clock.now())
      }
      peers.send(from, { type: 'claimed', session, id, open, zxid: tree.zxid })
    })
  }

  /** Requests of a learner's clients: proposed with the next ones of this server's own. */
  #receivedRequests(from: number, message: Forward, mayWait = true): void {
    const { sessions, requests, tree } = this.#host
    const { session: relation, bytes } = message
    const batch = decodeForwarded(bytes)
    if (mayWait && tree.zxid < this.proposedUpTo && batch.includes(Op.reconfig)) {
      // It is judged by the state here, and a quorum without this server may have shown its client a later one.
      this.#held.set(from, { until: this.proposedUpTo, messages: [message] })
      return
    }
    for (let i = 0; i < batch.count && !this.#over; i++) {
      const kind = batch.kindOf(i)
      const session = batch.sessionOf(i)
      const cxid = batch.cxidOf(i)
      const ids = batch.idsOf(i)
      const start = batch.startOf(i)
      const end = batch.endOf(i)
      if (kind === Op.createSession) sessions.owners.set(session, from)
      // The client has turned to another server: what it asked for here must not come behind what it asks for there.
      const moved = session !== 0 && sessions.owners.get(session) !== from && sessions.isOpen(session)
      if (kind === Op.reconfig && !moved) {
        const body = Buffer.from(batch.buf.subarray(start, end))
        const request = { kind, session, cxid, ids, body, origin: undefined, arrived: 0 }
        this.#reconfigure(request, { server: from, session: relation })
        continue
      }
      if (moved) {
        requests.add(Op.error, session, cxid, ids, movedBody, 0, 4, undefined, 0)
      } else {
        this.admit(kind, session)
        requests.add(kind, session, cxid, ids, batch.buf, start, end, undefined, 0)
      }
      requests.forwarded(from, relation)
      this.gathered()
    }
  }

  #releaseHeld(): void {
    for (const [from, { until, messages }] of [...this.#held]) {
      if (this.#host.tree.zxid < until) continue
      this.#held.delete(from)
      const [first, ...rest] = messages.filter(({ session }) => session === this.learnerSession(from))
      if (first?.type === 'forward') this.#receivedRequests(from, first, false)
      for (const message of rest) if (!this.#over) this.#receivedFromLearner(from, message)
    }
  }

  // ---------------------------------------------------------------- syncs

  /** Asks the core to confirm this leadership for the syncs that came. */
  #confirm(): void {
    const { syncs, handle } = this.#host
    const local = syncs.ask()
    if (local === undefined && this.#remoteSyncs.length === 0) return
    const id = ++this.#roundId
    this.#rounds.set(id, { local, remote: this.#remoteSyncs })
    this.#remoteSyncs = []
    handle({ type: 'confirm', id })
  }

  /** A quorum has confirmed round `id`: what was committed by then is within `zxid`. */
  confirmed(id: number, zxid: number): void {
    const { syncs, peers } = this.#host
    const round = this.#rounds.get(id)
    if (round === undefined) return
    this.#rounds.delete(id)
    if (round.local !== undefined) syncs.confirmed(round.local, zxid)
    for (const { server, session, id: asked, atLeast } of round.remote)
      peers.send(server, { type: 'synced', session, id: asked, zxid: Math.max(zxid, atLeast) })
  }

  // ---------------------------------------------------------------- sessions

  /** Looks for expired sessions at every multiple of the tick. */
  #planExpiry(): void {
    const { config, clock, sessions } = this.#host
    const { tickTime } = config
    const now = clock.now()
    const due = (Math.floor(now / tickTime) + 1) * tickTime
    this.#expiryTick = clock.after(due - now, () => {
      const late = clock.now() - due
      // After a pause of the whole process the signs of life may lie unread in the sockets: read them first. Those of
      // learners' clients come only when they are asked for.
      if (late <= tickTime / 2) this.#expire()
      else if (config.standalone) clock.soon(() => clock.soon(() => this.#expire()))
      else sessions.expiry.restartAll(clock.now())
      if (this.#acting) this.#planExpiry()
    })
  }

  #expire(): void {
    if (!this.#acting) return
    const { sessions, stats, logger, clock } = this.#host
    for (const session of sessions.expiry.expired(clock.now())) {
      if (!sessions.isOpen(session)) continue
      stats.sessionsExpired++
      logger.info({ session: formatSession(session) }, 'session expired')
      this.#propose(Op.closeSession, session, noBytes)
    }
  }

  // ---------------------------------------------------------------- what the ensemble agrees on

  /** Once in the life of an ensemble its first leader draws its id and its secret. */
  #proposeSettings(): void {
    const { randomBytes } = this.#host
    const body = new Writer(64)
    body.int(rulesVersion)
    body.buffer(randomBytes(16))
    body.buffer(randomBytes(32))
    // First, and in the same entry: a state that has settings and no configuration is that of a standalone server.
    this.#proposeConfiguration()
    this.#propose(Op.settings, 0, body.bytes())
  }

  /** /zookeeper/config says what this leader's configuration says, unless reconfigurations have taken over. */
  #proposeConfiguration(): void {
    const { members, core, requests } = this.#host
    const text = members.unwritten(zxidAfter(core, requests.count + 1))
    if (text !== undefined) this.#propose(Op.reconfig, 0, configBody(text))
  }

  /** A voting that the core asks for, with a transaction that changes nothing. */
  proposeVoting(voting: Voting): void {
    const { core, requests } = this.#host
    if (!this.#acting) {
      // The core asks once. If that is before this leader acts, it is done then.
      this.#unsettled = voting
      return
    }
    if (!mayPropose(core)) return
    if (requests.count > 0) this.#proposeRequests(undefined)
    if (this.#over) return
    requests.add(Op.error, 0, 0, noIds, nothingBody, 0, 4, undefined, 0)
    this.#proposeRequests(voting)
  }

  /** Judges a request for another configuration, and proposes it, or its error, as an entry of its own. */
  #reconfigure(request: ClientRequest, sender: Sender): void {
    const { requests, logger, planTurn } = this.#host
    const { session, cxid, ids, origin, arrived } = request
    const judged = this.#judgeReconfig(request)
    if (!this.#over && requests.count > 0) this.#proposeRequests(undefined)
    if (this.#over) {
      origin?.destroy()
      return
    }
    const isRefused = judged.code !== Code.ok
    if (isRefused)
      logger.info({ session: formatSession(session) }, `reconfiguration refused: ${judged.reason}`)
    const body = isRefused ? errorBody(judged.code) : configBody(judged.text)
    const kind = isRefused ? Op.error : Op.reconfig
    requests.add(kind, session, cxid, ids, body, 0, body.length, origin, arrived)
    if (sender !== undefined) requests.forwarded(sender.server, sender.session)
    if (isRefused) planTurn()
    else this.#proposeRequests(judged.voting)
  }

  /** In ZooKeeper's order (semantics.md rule 70). */
  #judgeReconfig({ session, ids, body }: ClientRequest): JudgedReconfig {
    const { core, config, sessions, members, requests } = this.#host
    if (config.standalone) return refused(Code.unimplemented, 'this is a standalone server')
    if (session !== 0 && !sessions.isOpen(session)) return refused(Code.sessionExpired, 'the session is gone')
    if (core.quorum.votings.length > 1) return refused(Code.reconfigInProgress, 'another one is under way')
    // The first change needs the present configuration in the log, in an entry of its own before it.
    const unwritten = unwrittenVoting(core)
    const before = requests.count + (unwritten === undefined ? 0 : 1)
    const judged = members.judge(body, zxidAfter(core, before + 1))
    if (judged.code !== Code.ok) return judged
    const obstacle = canReconfigure(core, judged.voting)
    if (obstacle === 'pending') return refused(Code.reconfigInProgress, 'another one is under way')
    if (obstacle !== undefined)
      return refused(Code.newConfigNoQuorum, 'no quorum of the new configuration is connected and up to date')
    if (!config.skipAcl && !members.mayWrite(ids))
      return refused(Code.noAuth, 'only who may write to /zookeeper/config')
    if (unwritten !== undefined) this.proposeVoting(unwritten)
    return judged
  }

  // ---------------------------------------------------------------- the state

  digest(digest: Digest): void {
    this.#judge(this.#digestVote.own(digest))
  }

  /** Acted upon when what is being applied is done. */
  #judge(verdict: Verdict | undefined): void {
    if (verdict === undefined) return
    this.#verdicts.push(verdict)
    this.#host.planTurn()
  }

  applied(): void {
    if (this.#unknown.length > 0) this.#answerUnknown()
    if (this.#held.size > 0) this.#releaseHeld()
    if (this.#verdicts.length > 0) for (const verdict of this.#verdicts.splice(0)) this.#actOn(verdict)
  }

  #actOn({ zxid: at, diverged, needed, self }: Verdict): void {
    if (this.#over) return
    const { peers, logger, stats } = this.#host
    const zxid = formatZxid(at)
    if (self) {
      this.#host.diverged(`a quorum has another state at ${zxid}`)
      return
    }
    for (const server of diverged) {
      stats.digestMismatches++
      logger.error({ server, zxid }, `the state of server ${server} is not that of the ensemble`)
      const session = this.learnerSession(server)
      if (session !== undefined) peers.send(server, { type: 'divergence', session, zxid: at })
    }
    for (const server of needed) {
      stats.digestMismatches++
      const line = `the state of server ${server} is not that of the ensemble; it gets another one as soon as there is a quorum without it`
      logger.error({ server, zxid }, line)
    }
  }
}

const nothingBody = errorBody(Code.ok)
const movedBody = errorBody(Code.sessionMoved)

/** Body of Op.error. */
function errorBody(code: number): Buffer {
  const body = Buffer.alloc(4)
  body.writeInt32BE(code)
  return body
}

/** Body of a deleteContainer. */
function pathBody(path: string): Buffer {
  const body = new Writer(path.length * 3 + 8)
  body.string(path)
  return body.bytes()
}

/** Body of a reconfig as it is proposed: the new content of /zookeeper/config. */
function configBody(text: string): Buffer {
  const body = new Writer(text.length * 3 + 8)
  body.string(text)
  return body.bytes()
}

function decodeForwarded(bytes: Uint8Array): Batch {
  try {
    return Batch.decode(bytes)
  } catch (error) {
    throw new PeerFault(`requests can not be read: ${error instanceof Error ? error.message : error}`)
  }
}
