import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { editConfig, writeMembers } from '../../src/config/dynamic-file.ts'
import { loadConfig } from '../../src/config/load.ts'

const tables: readonly (readonly [fact: string, before: string, after: string, hasClientPort?: boolean])[] = [
  [
    'members and peerType go out, all else stays as it is',
    '# ours\ndataDir=/d\n\nserver.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\nweight.1=3\npeerType=observer\n tickTime : 2000\n',
    '# ours\ndataDir=/d\n\n tickTime : 2000\ndynamicConfigFile=/x.dynamic.5\n',
  ],
  [
    'an older dynamic file goes out',
    'dynamicConfigFile=/x.dynamic.4\na=1',
    'a=1\ndynamicConfigFile=/x.dynamic.5\n',
  ],
  [
    'the client port stays where the members do not have it',
    'clientPort=2181\nclientPortAddress=h\n',
    'clientPort=2181\nclientPortAddress=h\ndynamicConfigFile=/x.dynamic.5\n',
  ],
  [
    'the client port goes out where they do, the one for TLS stays',
    'clientPort=2181\nclientPortAddress=h\nsecureClientPort=2281\n',
    'secureClientPort=2281\ndynamicConfigFile=/x.dynamic.5\n',
    true,
  ],
  [
    'lines that are continued go out as a whole',
    'a=1,\\\n2\nserver.1=a:\\\n  1:2\nb=3\n',
    'a=1,\\\n2\nb=3\ndynamicConfigFile=/x.dynamic.5\n',
  ],
  [
    'keys with the prefix of system properties count, names of Kerberos do not',
    'zookeeper.peerType=observer\nserver.principal=p\n',
    'server.principal=p\ndynamicConfigFile=/x.dynamic.5\n',
  ],
  ['line ends stay what they are', 'a=1\r\nserver.1=a:1:2\r\n', 'a=1\r\ndynamicConfigFile=/x.dynamic.5\r\n'],
  ['an empty text gets the line', '', 'dynamicConfigFile=/x.dynamic.5\n'],
]

describe('a configuration with a dynamic file', () => {
  for (const [fact, before, after, hasClientPort = false] of tables) {
    it(fact, () => {
      const { text } = editConfig(before, '/x.dynamic.5', hasClientPort)
      assert.equal(text, after)
      assert.equal(editConfig(text, '/x.dynamic.5', hasClientPort).text, after)
    })
  }

  it('is told from one that had members', () => {
    assert.equal(editConfig('server.1=a:1:2', '/x', false).hadMembers, true)
    assert.equal(editConfig('dynamicConfigFile=/y', '/x', false).hadMembers, false)
  })
})

const lines = ['server.1=a:2888:3888:participant;0.0.0.0:2181', 'server.10=c:2888:3888:observer;0.0.0.0:2181']
const more = 'server.2=b:2888:3888:participant;0.0.0.0:2181'

describe('writing the members down', () => {
  it('makes files that a start reads: first out of the configuration file, then the dynamic file alone', async (t) => {
    const dir = await scratch(t)
    const configFile = join(dir, 'zoo.cfg')
    const before = `dataDir=${dir}\ninitLimit=10\nsyncLimit=5\nclientPort=2181\n# here\n${lines[0]}\n${more}\n`
    await writeFile(configFile, before)
    await chmod(configFile, 0o640)
    await writeFile(join(dir, 'myid'), '1')
    const first = await writeMembers({
      configFile,
      lines: [more, ...lines],
      version: 0x100000000,
      hasClientPort: true,
    })
    assert.equal(first, `${configFile}.dynamic.100000000`)
    assert.equal(await readFile(first, 'utf8'), [lines[1], lines[0], more].join('\n'))
    assert.equal(await readFile(`${configFile}.bak`, 'utf8'), before)
    assert.equal((await stat(configFile)).mode & 0o777, 0o640)
    const files = new Map<string, string>()
    const config = async () => {
      files.clear()
      for (const name of await readdir(dir))
        files.set(join(dir, name), await readFile(join(dir, name), 'utf8'))
      const env = {
        readFile: (path: string) => files.get(path) ?? assert.fail(path),
        exists: (path: string) => files.has(path),
      }
      const { servers, configVersion, clientPort, dynamicConfigFile } = loadConfig({ file: configFile }, env)
      return [servers.map(({ id }) => id), configVersion, clientPort, dynamicConfigFile]
    }
    assert.deepEqual(await config(), [[1, 2, 10], 0x100000000, 2181, first])

    const second = await writeMembers({
      configFile,
      lines: [lines[0]!, more],
      version: 0x200000007,
      hasClientPort: true,
    })
    assert.deepEqual(await config(), [[1, 2], 0x200000007, 2181, second])
    assert.equal(await readFile(`${configFile}.bak`, 'utf8'), before)
    const names = ['myid', 'zoo.cfg', 'zoo.cfg.bak', 'zoo.cfg.dynamic.100000000', 'zoo.cfg.dynamic.200000007']
    assert.deepEqual((await readdir(dir)).sort(), names)
  })

  it('follows a link to the configuration file and leaves it one', async (t) => {
    const dir = await scratch(t)
    await mkdir(join(dir, 'real'))
    await writeFile(join(dir, 'real/zoo.cfg'), 'a=1\n')
    await symlink('real/zoo.cfg', join(dir, 'zoo.cfg'))
    const file = await writeMembers({
      configFile: join(dir, 'zoo.cfg'),
      lines,
      version: 1,
      hasClientPort: false,
    })
    assert.equal(await readFile(join(dir, 'real/zoo.cfg'), 'utf8'), `a=1\ndynamicConfigFile=${file}\n`)
    assert.equal(file, join(dir, 'zoo.cfg.dynamic.1'))
  })

  it('rejects where a file can not be written, and leaves the configuration as it is', async (t) => {
    const dir = await scratch(t)
    const configFile = join(dir, 'zoo.cfg')
    await writeFile(configFile, 'server.1=a:1:2\n')
    await mkdir(`${configFile}.dynamic.1`)
    await assert.rejects(writeMembers({ configFile, lines, version: 1, hasClientPort: false }), {
      syscall: 'rename',
    })
    await mkdir(`${configFile}.bak`)
    await assert.rejects(writeMembers({ configFile, lines, version: 2, hasClientPort: false }), {
      syscall: 'rename',
    })
    assert.equal(await readFile(configFile, 'utf8'), 'server.1=a:1:2\n')
  })
})

async function scratch(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'zabd-config-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}
