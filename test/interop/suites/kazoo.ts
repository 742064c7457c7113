// kazoo, the Python client: operations, recipes, sessions over a bad network and on an ensemble whose servers die, read-only
// mode, reconfiguration, and TLS with x509 ACLs.

import { join } from 'node:path'
import { makeCertificates } from '../harness/certs.ts'
import { type Program, runClientProgram, runEnsemblePrograms } from '../harness/client-program.ts'
import { interopSources } from '../harness/paths.ts'
import { kazooPath } from '../harness/provision.ts'
import type { Suite } from '../harness/suite.ts'

// `super:interop` in ZooKeeper's own form: user, colon, base64 of the sha1 over `user:password`.
const SUPER_DIGEST = 'super:/49OUaS/Rm5CIudE7EhYoMwy+PY='

const superSettings = [`DigestAuthenticationProvider.superDigest=${SUPER_DIGEST}`]

/** For ensembles whose members a super user changes. */
export const memberSettings = [...superSettings, 'reconfigEnabled=true']

/** A program of test/interop/kazoo. */
export async function python(
  name: string,
  file: string,
  env: Readonly<Record<string, string>>,
): Promise<Program> {
  return {
    name,
    command: 'python3',
    args: [join(interopSources, 'kazoo', file)],
    env: { PYTHONPATH: await kazooPath(), PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1', ...env },
  }
}

/** Installs kazoo. */
export async function provisionKazoo(): Promise<void> {
  await kazooPath()
}

export const kazoo: Suite = {
  name: 'kazoo',
  provision: provisionKazoo,
  run: async (context) => {
    await runClientProgram(context, await python('kazoo', 'main.py', {}), { settings: superSettings })
  },
}

export const kazooTls: Suite = {
  name: 'kazoo-tls',
  provision: provisionKazoo,
  run: async (context) => {
    const tls = await makeCertificates(join(context.dir, 'certs'))
    await runClientProgram(context, await python('kazoo-tls', 'tls.py', { CERTS: tls.dir }), { tls })
  },
}

export const kazooEnsemble: Suite = {
  name: 'kazoo-ensemble',
  provision: provisionKazoo,
  run: async (context) => {
    const program = await python('kazoo-ensemble', 'ensemble.py', {})
    await runEnsemblePrograms(context, [program], { settings: memberSettings })
  },
}
