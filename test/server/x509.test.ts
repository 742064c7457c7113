import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { DerError } from '../../src/server/tls-der.ts'
import { distinguishedName, subjectDn } from '../../src/server/x509.ts'
import { issueCertificate, tlsFile } from '../support/certificates.ts'

const subjects: { about: string; der: string; text: string }[] = JSON.parse(
  readFileSync(tlsFile('subjects.json'), 'utf8'),
)

for (const { about, der, text } of subjects) {
  test(`a subject is written as Java writes it: ${about}`, () => {
    assert.equal(distinguishedName(Buffer.from(der, 'hex')), text)
  })
}

test('the subject is found in a certificate, given as an object or as its bytes', () => {
  const { cert } = issueCertificate({
    subject: [
      ['C', 'DE'],
      ['O', 'Zabd, Inc'],
      ['OU', 'Dev'],
      ['CN', 'zkclient'],
    ],
  })
  const certificate = new X509Certificate(cert)
  assert.equal(subjectDn(certificate), 'CN=zkclient,OU=Dev,O=Zabd\\, Inc,C=DE')
  assert.equal(subjectDn(certificate.raw), subjectDn(certificate))
})

test('the subject of a version 1 certificate is found too', () => {
  // versions before 3 leave their number out, so that everything stands one place earlier
  const { raw } = new X509Certificate(issueCertificate({ subject: [['CN', 'old']] }).cert)
  const tbsAt = 4
  assert.equal(raw.toString('hex', tbsAt + 4, tbsAt + 9), 'a003020102')
  const tbs = raw.subarray(tbsAt + 9, tbsAt + 4 + raw.readUInt16BE(tbsAt + 2))
  const header = Buffer.from([0x30, 0x82, tbs.length >> 8, tbs.length & 0xff])
  const outer = Buffer.from([0x30, 0x82, (tbs.length + 4) >> 8, (tbs.length + 4) & 0xff])
  assert.equal(subjectDn(Buffer.concat([outer, header, tbs])), 'CN=old')
})

test('bytes that are no certificate are refused, wherever they are cut', () => {
  const { raw } = new X509Certificate(readFileSync(tlsFile('ca.pem')))
  for (let length = 0; length < raw.length; length += 7) {
    assert.throws(() => subjectDn(raw.subarray(0, length)), DerError)
  }
  assert.throws(() => subjectDn(Buffer.from('3003020101', 'hex')), DerError)
})
