import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger, type LoggerOptions } from '../../src/base/log.ts'

function logged(options: Omit<LoggerOptions, 'destination'>): string {
  let text = ''
  const destination = {
    write: (line: string) => {
      text += line
    },
  }
  const logger = createLogger({ ...options, destination })
  logger.debug('quiet')
  logger.info({ zxid: 5 }, 'hello')
  return text
}

test('log: JSON lines have level, time, fields and message, and nothing of the machine', () => {
  const { time, ...rest } = JSON.parse(logged({ level: 'info', pretty: false }))
  assert.deepEqual(rest, { level: 'info', zxid: 5, msg: 'hello' })
  assert.match(time, /^\d{4}-\d\d-\d\dT/)
})

test('log: pretty lines are for people', () => {
  assert.match(logged({ level: 'info', pretty: true }), /^\[.*\] INFO: hello\n {4}zxid: 5\n$/)
})

test('log: nothing below the level is written', () => {
  assert.equal(logged({ level: 'error', pretty: false }), '')
  assert.equal(logged({ level: 'silent', pretty: false }), '')
})
