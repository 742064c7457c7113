#!/usr/bin/env bash
# Makes the files of this folder anew, with openssl 3 and keytool (Java 9 or later). Unless said, passwords are `changeit`.
set -eu
cd "$(dirname "$0")"
export LC_ALL=C.UTF-8
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
rm -f ./*.pem ./*.p12 ./*.jks ./*.jceks
days=36500
pass=changeit

# An authority, and another below it that signs the server's certificate.
openssl req -x509 -newkey rsa:2048 -noenc -keyout ca-key.pem -out ca.pem -days $days -subj '/C=DE/O=zabd test/CN=Test CA' \
  -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign
openssl req -newkey rsa:2048 -noenc -keyout "$work/sub.key" -out "$work/sub.csr" -subj '/C=DE/O=zabd test/CN=Test Sub CA'
printf 'basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n' >"$work/sub.ext"
openssl x509 -req -in "$work/sub.csr" -CA ca.pem -CAkey ca-key.pem -days $days -extfile "$work/sub.ext" -out "$work/sub.pem"
server_ext='subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n'
printf "$server_ext" >"$work/server.ext"
openssl req -newkey rsa:2048 -noenc -keyout server-key.pem -out "$work/server.csr" -subj '/C=DE/O=zabd test/CN=localhost'
openssl x509 -req -in "$work/server.csr" -CA "$work/sub.pem" -CAkey "$work/sub.key" -days $days -extfile "$work/server.ext" \
  -out "$work/server.crt"
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
keytool -genkeypair -alias second -keyalg RSA -keysize 2048 -dname 'CN=second' -validity $days -storetype JKS \
  -keystore keytool-two-keys.jks -storepass $pass -keypass $pass
keytool -genkeypair -alias ec -keyalg EC -groupname secp256r1 -dname 'CN=localhost,O=zabd test' -validity $days \
  -storetype JKS -keystore keytool-ec.jks -storepass $pass -keypass $pass
keytool -genkeypair -alias ed -keyalg Ed25519 -dname 'CN=localhost,O=zabd test' -validity $days \
  -keystore keytool-ed25519.p12 -storepass $pass
keytool -genseckey -keyalg AES -keysize 128 -alias secret -storetype JCEKS -keystore keytool.jceks -storepass $pass
keytool -importcert -noprompt -alias ca -file ca.pem -storetype JKS -keystore trust.jks -storepass $pass
keytool -importcert -noprompt -alias ca -file ca.pem -keystore trust.p12 -storepass $pass
