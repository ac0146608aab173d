#!/bin/sh
# Makes the secrets that compose.yaml mounts; those that are there stay. Only this user can enter their folder. The files
# themselves are readable by all: Compose mounts them as they are, and the users of the containers are others.
set -eu
cd "$(dirname "$0")"
mkdir -p -m 0700 secrets
for name in secret_key redis_password grafana_password; do
    [ -s "secrets/$name" ] || (umask 022 && python3 -c 'import secrets; print(secrets.token_hex(32))' > "secrets/$name")
done
