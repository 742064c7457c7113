// Where things are. This file runs from <root>/<build folder>/test/interop/harness, whatever the folder's name.

import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const repositoryRoot = fileURLToPath(new URL('../../../../', import.meta.url))

/** The programs and lists of dependencies in other languages; they are not compiled by tsc. */
export const interopSources = join(repositoryRoot, 'test', 'interop')

/** What package registries gave; may be deleted at any time between runs. */
export const { ZABD_CACHE: cacheDir = join(homedir(), '.cache', 'zabd') } = process.env
