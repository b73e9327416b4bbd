#!/bin/sh
# Makes the certificates beside this script, all valid for a hundred years.
# They are for tests on 127.0.0.1 and worth nothing elsewhere. Needs openssl 3.
set -eu
cd "$(dirname "$0")"
days=36525

# authority NAME COMMON-NAME
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 -days "$days" \
    -subj "/CN=$2" -addext "basicConstraints=critical,CA:TRUE" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$1.key" -out "$1.pem"
}

# leaf NAME SUBJECT AUTHORITY EXTENSIONS
leaf() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 \
    -subj "$2" -keyout "$1.key" -out "$1.csr"
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n%b\n' "$4" >"$1.ext"
  openssl x509 -req -sha256 -days "$days" -in "$1.csr" -extfile "$1.ext" \
    -CA "$3.pem" -CAkey "$3.key" -out "$1.pem"
}

authority ca "Hawser test authority"
authority other-ca "Some other authority"
leaf server "/CN=localhost" ca \
  'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
leaf client "/O=Test/OU=one/OU=two/CN=test client" ca \
  'extendedKeyUsage=clientAuth\nsubjectAltName=URI:spiffe://test.example/client,DNS:client.example'
leaf other-client "/CN=stranger" other-ca 'extendedKeyUsage=clientAuth'

# The authorities sign nothing more: make all of them anew instead.
rm -f ca.key other-ca.key ./*.csr ./*.ext ./*.srl
