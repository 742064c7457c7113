// Servers that start slowly, while the others are there and waiting for them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startEnsemble } from '../support/ensemble.ts'

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
