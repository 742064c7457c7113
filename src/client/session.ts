// A session for what surrounds a load: making the znodes that it uses, looking, removing. Promises per request, so not
// for the load itself.

import { Code, codeName } from '../base/errors.ts'
import { CreateFlag, Op } from '../base/opcodes.ts'
import type { Reader } from '../jute/reader.ts'
import type { Writer } from '../jute/writer.ts'
import { Connection, ConnectionError, type ConnectionOptions } from './connection.ts'
import {
  multiError,
  writeCreate,
  writeDelete,
  writeMultiEnd,
  writeMultiHeader,
  writePathAndWatch,
} from './requests.ts'

/** An operation that the server answered with an error. */
export class RequestError extends Error {
  readonly code: number
  readonly path: string
  constructor(what: string, path: string, code: number) {
    super(`${what} ${path}: ${codeName(code)}`)
    this.name = 'RequestError'
    this.code = code
    this.path = path
  }
}

/** Requests of a bulk that are under way at a time; enough to keep a server busy, little enough for its queues. */
const bulkDepth = 16
/** Operations in each multi of a bulk. */
const bulkBatch = 100
/** A session that has nothing to do pings this often. */
const pingsPerTimeout = 3

type Waiting = {
  readonly what: string
  readonly path: string
  resolve(body: Reader): void
  reject(error: Error): void
}

export class Session {
  readonly #connection: Connection
  readonly #waiting = new Map<number, Waiting>()
  #lastTag = 0
  #reason: ConnectionError | undefined
  #ended = false
  readonly #pings: NodeJS.Timeout
  #onEnded = () => {}

  /** Resolves with an open session, rejects with a ConnectionError. */
  static open(options: ConnectionOptions): Promise<Session> {
    return new Promise((resolve, reject) => {
      const session: Session = new Session(options, () => resolve(session), reject)
    })
  }

  private constructor(options: ConnectionOptions, opened: () => void, failed: (error: Error) => void) {
    this.#connection = new Connection(options, {
      opened,
      reply: ({ tag, error, body }) => {
        const waiting = this.#waiting.get(tag)
        if (waiting === undefined) return
        this.#waiting.delete(tag)
        if (error === 0) waiting.resolve(body)
        else waiting.reject(new RequestError(waiting.what, waiting.path, error))
      },
      event: () => {},
      ended: (reason) => {
        clearInterval(this.#pings)
        this.#reason = reason ?? new ConnectionError('lost', 'the session was closed')
        this.#ended = true
        failed(this.#reason)
        for (const { reject } of this.#waiting.values()) reject(this.#reason)
        this.#waiting.clear()
        this.#onEnded()
      },
    })
    this.#pings = setInterval(() => this.#connection.ping(), options.sessionTimeoutMs / pingsPerTimeout)
  }

  create(path: string, data: Uint8Array, sequential = false): Promise<string> {
    const flags = sequential ? CreateFlag.persistentSequential : CreateFlag.persistent
    return this.#ask(
      'create',
      path,
      Op.create,
      (out) => writeCreate(out, Buffer.from(path), data, flags),
      (body) => body.requiredString('the path'),
    )
  }

  delete(path: string): Promise<void> {
    return this.#ask(
      'delete',
      path,
      Op.delete,
      (out) => writeDelete(out, Buffer.from(path)),
      () => undefined,
    )
  }

  /** The data; undefined if there is no such znode. */
  async getData(path: string): Promise<Buffer | undefined> {
    try {
      return await this.#ask(
        'get',
        path,
        Op.getData,
        (out) => writePathAndWatch(out, Buffer.from(path), false),
        (body) => body.buffer() ?? Buffer.alloc(0),
      )
    } catch (error) {
      if (error instanceof RequestError && error.code === Code.noNode) return undefined
      throw error
    }
  }

  children(path: string): Promise<string[]> {
    return this.#ask(
      'list',
      path,
      Op.getChildren,
      (out) => writePathAndWatch(out, Buffer.from(path), false),
      (body) => body.strings(),
    )
  }

  /** Waits until this server has everything that was written before. */
  sync(path: string): Promise<void> {
    return this.#ask(
      'sync',
      path,
      Op.sync,
      (out) => out.string(path),
      () => undefined,
    )
  }

  /** Creates znodes, many in a transaction. */
  createAll(count: number, path: (number: number) => Uint8Array, data: Uint8Array): Promise<void> {
    return this.#bulk('create', count, (out, number) => {
      writeMultiHeader(out, Op.create)
      writeCreate(out, path(number), data, CreateFlag.persistent)
    })
  }

  /** Removes a znode and everything below it; one that is gone already is no error. */
  async removeTree(path: string): Promise<void> {
    try {
      await this.removeBelow(path)
      await this.delete(path)
    } catch (error) {
      if (!(error instanceof RequestError && error.code === Code.noNode)) throw error
    }
  }

  /** Removes everything below a znode. */
  async removeBelow(path: string): Promise<void> {
    // A transaction of deletes fails for a znode that has children: then they are looked at one by one.
    const names = await this.children(path)
    const paths = names.map((name) => Buffer.from(`${path}/${name}`))
    try {
      await this.#bulk('delete', paths.length, (out, number) => {
        writeMultiHeader(out, Op.delete)
        writeDelete(out, paths[number] as Buffer)
      })
    } catch (error) {
      if (!(error instanceof RequestError)) throw error
      for (const name of await this.children(path)) await this.removeTree(`${path}/${name}`)
    }
  }

  /** Closes the session and waits until the server has. */
  async close(): Promise<void> {
    if (this.#ended) return
    await new Promise<void>((resolve) => {
      this.#onEnded = resolve
      this.#connection.close()
    })
  }

  /** Multis of many operations each, some of them under way at a time. */
  async #bulk(what: string, count: number, write: (out: Writer, number: number) => void): Promise<void> {
    let next = 0
    const work = async () => {
      while (next < count) {
        const from = next
        next = Math.min(count, from + bulkBatch)
        const to = next
        await this.#ask(
          what,
          `${count} znodes`,
          Op.multi,
          (out) => {
            for (let number = from; number < to; number++) write(out, number)
            writeMultiEnd(out)
          },
          multiError,
        ).then((code) => {
          if (code !== 0) throw new RequestError(what, `${count} znodes`, code)
        })
      }
    }
    await Promise.all(Array.from({ length: bulkDepth }, work))
  }

  #ask<T>(
    what: string,
    path: string,
    op: number,
    write: (out: Writer) => void,
    read: (body: Reader) => T,
  ): Promise<T> {
    if (this.#reason !== undefined) return Promise.reject(this.#reason)
    return new Promise<T>((resolve, reject) => {
      const tag = ++this.#lastTag
      // The body is only there now.
      this.#waiting.set(tag, { what, path, resolve: (body) => resolve(read(body)), reject })
      write(this.#connection.begin(op, tag, 0))
      this.#connection.finish()
      this.#connection.flush()
    })
  }
}
