#!/usr/bin/env bash
# Makes what docker-compose.yml needs and nobody else may read: files in ./secrets, and ./.env with whose they are.
# With --dev the service runs on the local chains of the dev profile, with gas wallets that everybody knows.
# Changes no secret that is there already. The containers that read them run as the user that runs this; for root, as 65532.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
umask 077
mkdir -p secrets

random() {
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

digest() {
  sha256sum "$1" | cut -d ' ' -f 1
}

for name in postgres-password redis-password admin-token; do
  [ -e "secrets/$name" ] || random >"secrets/$name"
done
gas_password=$(sed -n 's/^GAS_PASSWORD=//p' .env 2>/dev/null || true)
gas_password=${gas_password:-$(random)}
uid=$(id -u) gid=$(id -g)
if [ "$uid" -eq 0 ]; then
  uid=65532 gid=65532
fi
# Only the commands and the keys that the service uses; the default user may do nothing.
[ -e secrets/redis.acl ] || cat >secrets/redis.acl <<ACL
user default off
user facilitator on #$(digest secrets/redis-password) ~x402:* +set +get +del +eval +info +time +zadd +zcard +zremrangebyscore +expire
ACL
cat >.env <<ENV
SECRETS_UID=$uid
SECRETS_GID=$gid
GAS_PASSWORD=$gas_password
ADMIN_TOKEN_SHA256=$(digest secrets/admin-token)
ENV
# Its gas wallets are in its configuration: nobody reads the files in their place.
if [ "${1:-}" = --dev ]; then
  cat >>.env <<ENV
FACILITATOR_TOML=./facilitator/deploy/compose/dev.toml
GAS_FILE=./facilitator/deploy/compose/dev.toml
GAS_2_FILE=./facilitator/deploy/compose/dev.toml
ENV
fi
# One for each instance.
for wallet in gas.json gas-2.json; do
  if [ "${1:-}" != --dev ] && [ ! -e "secrets/$wallet" ]; then
    echo "A gas wallet is missing. Make it, fund it, and run this again:" >&2
    echo "  (. ./.env; FACILITATOR_KEYSTORE_PASSWORD=\$GAS_PASSWORD facilitator keygen evm --keystore secrets/$wallet)" >&2
  fi
done
[ "$(id -u)" -ne 0 ] || chown -R "$uid:$gid" secrets
