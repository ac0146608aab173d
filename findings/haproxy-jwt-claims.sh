#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12: haproxy=2.6.12-1+deb12u4): what its converter for the claims of a token does not give.
#
# - jwt_payload_query of a name that is written with an escape gives one byte: "Jos\u00e9", as Python's json writes it,
#   becomes the bytes J o s E9, no UTF-8, and what is beyond U+00FF is not there at all.
# - jwt_payload_query without arguments, and for a list, gives nothing: entries are asked for one by one, '$.aud[0]';
#   the whole payload is field(2,.),ub64dec.
#
# Source: run it: src/sample.c, sample_conv_json_query; src/mjson.c, mjson_unescape. It makes a
# token with openssl, asks HAProxy what it reads of it, and fails if that has changed. It needs haproxy, openssl and curl.
set -euo pipefail
PATH=$PATH:/usr/sbin
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"
key=a-key-of-more-than-thirty-two-bytes-for-this-token
encoded() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
head=$(printf '{"alg":"HS256","typ":"JWT"}' | encoded)
claims=$(printf '%s' '{"sub":"Jos\u00e9","username":"\u0141ukasz","aud":["one","two"]}' | encoded)
mac=$(printf '%s.%s' "$head" "$claims" | openssl dgst -sha256 -hmac "$key" -binary | encoded)
port=$((20000 + RANDOM % 20000))
cat > haproxy.cfg <<CONFIG
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend asked
    bind 127.0.0.1:$port
    http-request set-var(txn.t) http_auth_bearer
    http-request return status 200 content-type text/plain lf-string "sub %[var(txn.t),jwt_payload_query('\\\$.sub'),hex]\nusername %[var(txn.t),jwt_payload_query('\\\$.username'),hex]\naud %[var(txn.t),jwt_payload_query('\\\$.aud')]\naud[0] %[var(txn.t),jwt_payload_query('\\\$.aud[0]')]\nall %[var(txn.t),jwt_payload_query]\n"
CONFIG
haproxy -v | sed -n 1p
haproxy -db -f haproxy.cfg &
server=$!
for _ in $(seq 50); do
    curl -s -o answer -H "Authorization: Bearer $head.$claims.$mac" "http://127.0.0.1:$port/" && break
    sleep 0.1
done
sed 's/ *$//' answer | tee seen
diff seen - <<'EXPECTED'
sub 4A6F73E9
username
aud
aud[0] one
all
EXPECTED
