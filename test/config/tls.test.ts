import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getCiphers } from 'node:tls'
import { cipherNames } from '../../src/config/tls.ts'

test('every cipher suite that can be asked for is one that Node.js has', () => {
  const available = new Set(getCiphers())
  const missing = [...cipherNames().values()].filter((name) => !available.has(name.toLowerCase()))
  assert.deepEqual(missing, [])
})

test('IANA names stand for the OpenSSL names of the same suites', () => {
  const names = cipherNames()
  const samples = {
    TLS_RSA_WITH_AES_128_CBC_SHA: 'AES128-SHA',
    TLS_RSA_WITH_AES_256_GCM_SHA384: 'AES256-GCM-SHA384',
    TLS_DHE_RSA_WITH_AES_256_CBC_SHA256: 'DHE-RSA-AES256-SHA256',
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
    TLS_CHACHA20_POLY1305_SHA256: 'TLS_CHACHA20_POLY1305_SHA256',
  }
  assert.deepEqual(Object.fromEntries(Object.keys(samples).map((name) => [name, names.get(name)])), samples)
})
