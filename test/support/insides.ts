// Compares objects field by field with those that nobody else can see: the private fields of classes, which the debugger's
// interface of Node.js tells. So a test notices a field that somebody adds and forgets elsewhere.
import assert from 'node:assert/strict'
import { type Runtime, Session } from 'node:inspector'

/** As Node.js has it; its types lack the private ones. */
type Properties = { readonly privateProperties?: readonly { name: string; value?: Runtime.RemoteObject }[] }

/** The fields of two objects and of all that hangs on them, as `Class.#name`. */
export type Insides = {
  /** Those that were looked at. An object of a class in one of them is looked at instead. */
  readonly seen: ReadonlySet<string>
  /** Those of them that are not the same. */
  readonly differ: ReadonlySet<string>
}

/**
 * Holds two objects of the same class against each other. What is plain data (arrays, maps, memory, ...) counts as part of the
 * field that it is in; functions are not compared.
 */
export function compareInsides(a: object, b: object): Insides {
  const seen = new Set<string>()
  const differ = new Set<string>()
  const session = new Session()
  session.connect()
  try {
    new Comparison(session, seen, differ).objects(a, b)
  } finally {
    session.disconnect()
  }
  return { seen, differ }
}

/** Where a script of the debugger puts what it is given. */
const hand: { object?: unknown } = {}
const handName = '__handOfInsides'
Object.defineProperty(globalThis, handName, { value: hand })

class Comparison {
  readonly #session: Session
  readonly #seen: Set<string>
  readonly #differ: Set<string>
  /** What was compared, with what: there are cycles. */
  readonly #known = new Map<object, object>()

  constructor(session: Session, seen: Set<string>, differ: Set<string>) {
    this.#session = session
    this.#seen = seen
    this.#differ = differ
  }

  /** Two objects of a class. */
  objects(a: object, b: object): void {
    const { name } = a.constructor
    const others = this.#fields(b)
    const fields = this.#fields(a)
    assert.deepEqual([...fields.keys()], [...others.keys()], `fields of ${name}`)
    for (const [key, value] of fields) {
      const field = `${name}.${key}`
      if (!isOfClass(value)) this.#seen.add(field)
      if (!this.#same(value, others.get(key))) this.#differ.add(field)
    }
  }

  #same(a: unknown, b: unknown): boolean {
    if (typeof a === 'function' && typeof b === 'function') return true
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b)
    if (this.#known.has(a)) return this.#known.get(a) === b
    if (a.constructor !== b.constructor) return false
    this.#known.set(a, b)
    if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) return Buffer.compare(bytesOf(a), bytesOf(b)) === 0
    if (Array.isArray(a)) return this.#sameLists(a, b as unknown as unknown[])
    if (a instanceof Map || a instanceof Set) return this.#sameLists([...a], [...(b as typeof a)])
    if (!isOfClass(a)) return this.#sameLists(Object.entries(a), Object.entries(b))
    this.objects(a, b)
    return true
  }

  #sameLists(a: readonly unknown[], b: readonly unknown[]): boolean {
    return a.length === b.length && a.every((value, i) => this.#same(value, b[i]))
  }

  /** Public and private ones, but for functions. */
  #fields(object: object): Map<string, unknown> {
    const fields = new Map<string, unknown>(Object.entries(object))
    hand.object = object
    const { result } = this.#post<Runtime.EvaluateReturnType>('Runtime.evaluate', {
      expression: `${handName}.object`,
    })
    const { objectId } = result
    const { privateProperties = [] } = this.#post<Properties>('Runtime.getProperties', {
      objectId,
      ownProperties: true,
    })
    for (const { name, value } of privateProperties)
      if (value !== undefined && value.type !== 'function') fields.set(name, this.#live(value))
    return fields
  }

  /** What the debugger speaks of. */
  #live({ objectId, value, unserializableValue }: Runtime.RemoteObject): unknown {
    if (objectId === undefined) return unserializableValue ?? value
    const functionDeclaration = `function () { ${handName}.object = this }`
    this.#post('Runtime.callFunctionOn', { objectId, functionDeclaration })
    return hand.object
  }

  /** In the thread of its own session the debugger answers at once. */
  #post<Result>(method: string, params: object): Result {
    let answer: Result | undefined
    this.#session.post(method, params, (error: Error | null, result?: object) => {
      if (error !== null) throw error
      answer = result as Result
    })
    assert.ok(answer !== undefined, `${method} has given nothing`)
    return answer
  }
}

/** Whether a value is no plain data. */
function isOfClass(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value))
    return false
  return ![Object, Map, Set].some((plain) => Object.getPrototypeOf(value) === plain.prototype)
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}
