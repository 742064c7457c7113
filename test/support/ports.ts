// Ports for servers under test. One that the system chooses (port 0) may be given to another process between the probe and its
// use: two servers then want the same one, and who lost it could take the other's answers for those of its own.
import { createServer } from 'node:net'

/** Below the ports that the system gives to outgoing connections; ZABD_TEST_PORTS=FIRST-LAST narrows it. */
const { ZABD_TEST_PORTS = '15000-31999' } = process.env
const [firstPort = 0, lastPort = 0] = ZABD_TEST_PORTS.split('-').map(Number)
// Test runs at the same time begin at different places; files of one run have ranges of their own (scripts/test.mjs).
let nextPort = firstPort + ((process.pid * 61) % (lastPort - firstPort + 1))

/** Ports of the loopback address that nobody listens on and that this process has not handed out. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = nextPort
    nextPort = port >= lastPort ? firstPort : port + 1
    const probe = createServer()
    const free = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (free) return port
  }
}
