// The shortest proof that a server serves: creates a znode with a client of somebody else and reads it back.
//   node scripts/smoke.mjs [HOST:PORT]      127.0.0.1:2181 by default
// Exit code: 0 it does, 1 it does not (within ten seconds).

import zookeeper from 'node-zookeeper-client'

const limitMs = 10_000
const address = process.argv[2] ?? '127.0.0.1:2181'
const path = `/smoke-${process.pid}`
const wanted = Buffer.from('read me back')

const timer = setTimeout(() => {
  console.error(`smoke: no answer from ${address} within ${limitMs} ms`)
  process.exit(1)
}, limitMs)
const client = zookeeper.createClient(address, { sessionTimeout: 10_000, retries: 0 })
const call = (name, ...args) =>
  new Promise((resolve, reject) => {
    client[name](...args, (error, result) => (error ? reject(error) : resolve(result)))
  })
try {
  await new Promise((resolve) => {
    client.once('connected', resolve)
    client.connect()
  })
  await call('create', path, wanted)
  const found = await call('getData', path)
  if (!wanted.equals(found)) throw new Error(`read back '${found}' instead of '${wanted}'`)
  await call('remove', path)
  console.log(`smoke: created and read ${path} at ${address}`)
} catch (error) {
  console.error(`smoke: ${error}`)
  process.exitCode = 1
} finally {
  clearTimeout(timer)
  client.close()
}
