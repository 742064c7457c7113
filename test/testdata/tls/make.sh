#!/usr/bin/env bash
# Makes the files of this folder anew, with openssl 3 and keytool (Java 9 or later). Unless said, passwords are `changeit`.
set -eu
cd "$(dirname "$0")"
export LC_ALL=C.UTF-8
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
rm -f ./*.pem ./*.p12 ./*.jks ./*.jceks
pass=changeit
# A beginning long ago, so that the tests also run where the clock is behind.
java_dates=(-startdate '2015/01/01 00:00:00' -validity 36500)

# sign OUT CSR CERTIFICATE KEY EXTENSIONS: the certificate for a request (openssl x509 can not set dates before 3.4)
sign() {
  : >"$work/index"
  printf '%s\n' '[ca]' 'default_ca=d' '[d]' "database=$work/index" "new_certs_dir=$work" "rand_serial=yes" 'default_md=sha256' \
    'policy=p' 'unique_subject=no' '[p]' 'C=supplied' 'O=supplied' 'CN=supplied' '[x]' "${@:5}" >"$work/ca.cnf"
  openssl ca -batch -notext -config "$work/ca.cnf" -extensions x -startdate 20150101000000Z -enddate 21150101000000Z \
    -in "$2" -out "$1" -keyfile "$4" $([ "$3" = self ] && echo -selfsign || echo "-cert $3")
}

# An authority, and another below it that signs the server's certificate.
request() { openssl req -newkey rsa:2048 -noenc -keyout "$1" -out "$work/csr" -subj "/C=DE/O=zabd test/CN=$2"; }
authority=('basicConstraints=critical,CA:true' 'keyUsage=critical,keyCertSign,cRLSign')
request ca-key.pem 'Test CA'
sign ca.pem "$work/csr" self ca-key.pem "${authority[@]}"
request "$work/sub.key" 'Test Sub CA'
sign "$work/sub.pem" "$work/csr" ca.pem ca-key.pem "${authority[@]}"
request server-key.pem localhost
sign "$work/server.crt" "$work/csr" "$work/sub.pem" "$work/sub.key" \
  'subjectAltName=DNS:localhost,IP:127.0.0.1' 'extendedKeyUsage=serverAuth,clientAuth'
cat "$work/server.crt" "$work/sub.pem" ca.pem >"$work/chain.pem"
# A key of its own for what tests sign as they run.
openssl genrsa -out client-key.pem 2048

# PEM: the order is mixed on purpose.
cat "$work/sub.pem" server-key.pem ca.pem "$work/server.crt" >server.pem
{ cat "$work/chain.pem"; openssl pkcs8 -topk8 -v2 aes256 -in server-key.pem -passout pass:$pass; } >server-encrypted.pem
{ openssl rsa -in server-key.pem -traditional -aes128 -passout pass:$pass; cat "$work/chain.pem"; } >server-encrypted-traditional.pem
{ openssl pkcs8 -topk8 -v1 PBE-MD5-DES -provider legacy -provider default -in server-key.pem -passout pass:$pass
  cat "$work/chain.pem"; } >server-encrypted-des.pem

# PKCS#12 by openssl: as it is today, as it was before 3.0, unencrypted, and with a password that is not ASCII.
p12() { openssl pkcs12 -export -inkey server-key.pem -in "$work/server.crt" -certfile <(cat "$work/sub.pem" ca.pem) "$@"; }
p12 -name server -passout pass:$pass -out openssl.p12
p12 -name server -passout pass:$pass -out openssl-legacy.p12 -legacy
p12 -passout pass:$pass -out openssl-rc2-128.p12 -legacy -certpbe PBE-SHA1-RC2-128 -keypbe PBE-SHA1-2DES -macalg sha512
p12 -passout pass: -out openssl-plain.p12 -keypbe NONE -certpbe NONE -nomac
p12 -passout pass: -out openssl-empty-password.p12
p12 -name schlüssel -passout pass:pässwörd -out openssl-umlaut.p12
openssl pkcs12 -export -nokeys -in ca.pem -passout pass:$pass -out openssl-trust.p12

# keytool: PKCS#12 of today and of before Java 8u301, JKS, and a .jks that is PKCS#12 within.
import() { keytool -importkeystore -noprompt -srckeystore openssl.p12 -srcstoretype PKCS12 -srcstorepass $pass -deststorepass $pass "$@"; }
import -destkeystore keytool.p12 -deststoretype PKCS12
# The encodings of -J-Dkeystore.pkcs12.legacy, without its counts of 50,000 and 100,000, which would slow the tests down.
import -destkeystore keytool-legacy.p12 -deststoretype PKCS12 -J-Dkeystore.pkcs12.{certPbe,keyPbe,mac}IterationCount=1000 \
  -J-Dkeystore.pkcs12.certProtectionAlgorithm=PBEWithSHA1AndRC2_40 \
  -J-Dkeystore.pkcs12.keyProtectionAlgorithm=PBEWithSHA1AndDESede -J-Dkeystore.pkcs12.macAlgorithm=HmacPBESHA1
import -destkeystore keytool.jks -deststoretype JKS
import -destkeystore keytool-default.jks
keytool -genseckey -keyalg AES -keysize 128 -alias secret -keystore keytool.p12 -storepass $pass
cp keytool.jks keytool-key-password.jks
keytool -keypasswd -alias server -keystore keytool-key-password.jks -storepass $pass -keypass $pass -new different
cp keytool.jks keytool-two-keys.jks
keytool -genkeypair -alias second -keyalg RSA -keysize 2048 -dname 'CN=second' "${java_dates[@]}" -storetype JKS \
  -keystore keytool-two-keys.jks -storepass $pass -keypass $pass
keytool -genkeypair -alias ec -keyalg EC -groupname secp256r1 -dname 'CN=localhost,O=zabd test' "${java_dates[@]}" \
  -storetype JKS -keystore keytool-ec.jks -storepass $pass -keypass $pass
keytool -genkeypair -alias ed -keyalg Ed25519 -dname 'CN=localhost,O=zabd test' "${java_dates[@]}" \
  -keystore keytool-ed25519.p12 -storepass $pass
keytool -genseckey -keyalg AES -keysize 128 -alias secret -storetype JCEKS -keystore keytool.jceks -storepass $pass
keytool -importcert -noprompt -alias ca -file ca.pem -storetype JKS -keystore trust.jks -storepass $pass
keytool -importcert -noprompt -alias ca -file ca.pem -keystore trust.p12 -storepass $pass
