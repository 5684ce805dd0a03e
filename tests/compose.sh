#!/usr/bin/env bash
# Tries docker-compose.yml on a machine with a Docker engine: ./tests/compose.sh [--local-images] [--binary FILE]
#
# Brings everything up with the dev profile, settles payments through HAProxy on both chains, kills an instance, restarts
# both one after the other under payments, and holds the store against the chains. Removes what it has made.
#
# --local-images   makes the images that are used from Debian's packages and this machine's own tools, instead of
#                  pulling them: for a machine that reaches no registry of images. Their versions are Debian's.
# --binary FILE    puts this binary into the service's image instead of building one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

local_images=no binary=
while [ $# -gt 0 ]; do
  case "$1" in
    --local-images) local_images=yes ;;
    --binary) binary=$(realpath "$2"); shift ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 64 ;;
  esac
  shift
done

say() { printf '\n== %s\n' "$*" >&2; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

if docker compose version >/dev/null 2>&1; then
  compose() { docker compose --profile dev "$@"; }
else
  compose() { docker-compose --profile dev "$@"; }
fi

# A copy of the tree: the secrets and the settings of this one stay as they are.
work=$(mktemp -d)
export COMPOSE_PROJECT_NAME="x402-try-$$"
end() {
  local code=$?
  cd "$work"
  [ "$code" -eq 0 ] || compose logs --tail=60 >&2 || true
  compose down --volumes --remove-orphans --timeout 10 >/dev/null 2>&1 || true
  cd / && rm -rf -- "$work"
}
trap end EXIT
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory="$work"
root=$PWD
cd "$work"
# An image that is made here has no digest to be known by.
[ "$local_images" = no ] || sed -i 's/@sha256:[0-9a-f]*//' facilitator/Dockerfile docker-compose.yml

# The image that a recipe on stdin makes, with files of this machine in its context.
image() {
  local tag=$1 context
  shift
  context=$(mktemp -d -p "$work")
  cat >"$context/Dockerfile"
  [ $# -eq 0 ] || cp --dereference "$@" "$context"
  docker build --quiet --tag "$tag" "$context" >&2
}

# Each image of the compose file and of the Dockerfile, by its name there.
named() {
  { sed -n 's/^ *image: //p' docker-compose.yml; sed -n 's/^ARG .*_IMAGE=//p' facilitator/Dockerfile; } | grep "^$1:" || fail "no image $1"
}

install() {
  printf 'RUN apt-get update && apt-get install -y --no-install-recommends %s && rm -rf /var/lib/apt/lists/*\n' "$*"
}

make_images() {
  local base
  base=$(named debian)
  say "an image of Debian, by debootstrap"
  command -v debootstrap >/dev/null || fail "debootstrap is missing: install it"
  debootstrap --variant=minbase bookworm "$work/debian" >/dev/null
  tar -C "$work/debian" -c . | docker import - "$base" >/dev/null
  rm -rf "$work/debian"

  say "images from Debian's packages"
  image "$(named haproxy)" <<IMAGE
FROM $base
$(install haproxy)
USER haproxy
ENTRYPOINT ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
IMAGE
  image "$(named redis)" <<IMAGE
FROM $base
$(install redis-server redis-tools)
IMAGE
  image "$(named prom/prometheus)" <<IMAGE
FROM $base
$(install prometheus)
ENTRYPOINT ["prometheus"]
IMAGE
  cat >"$work/postgres.sh" <<'SCRIPT'
#!/bin/sh
# Makes the database at the first start, as the official image does, and serves it.
set -eu
export PATH="$(echo /usr/lib/postgresql/*/bin):$PATH" PGDATA=/var/lib/postgresql/data
if [ "$(id -u)" -eq 0 ]; then
  install -d -o postgres -g postgres -m 0700 "$PGDATA"
  chown postgres:postgres /var/lib/postgresql/data /run/postgresql
  install -o postgres -m 0400 "$POSTGRES_PASSWORD_FILE" /tmp/password
  exec setpriv --reuid=postgres --regid=postgres --init-groups sh "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=trust >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB" | postgres --single postgres >/dev/null
fi
exec postgres -c listen_addresses='*'
SCRIPT
  image "$(named postgres)" "$work/postgres.sh" <<IMAGE
FROM $base
$(install postgresql)
COPY postgres.sh /postgres.sh
ENTRYPOINT ["sh", "/postgres.sh"]
IMAGE

  say "images from this machine's tools"
  local anvil validator toolchain
  anvil=$(ls "$root"/tests/contracts/node_modules/@foundry-rs/anvil-*/bin/anvil 2>/dev/null || command -v anvil) || fail "anvil is missing: tests/run brings it"
  validator=$(command -v solana-test-validator) || fail "solana-test-validator is missing: tests/run brings it"
  image "$(named ghcr.io/foundry-rs/foundry)" "$anvil" <<IMAGE
FROM $base
COPY anvil /usr/local/bin/anvil
IMAGE
  image "$(named anzaxyz/agave)" "$validator" <<IMAGE
FROM $base
$(install ca-certificates hostname libssl3 libudev1)
COPY solana-test-validator /usr/local/bin/solana-test-validator
IMAGE
  [ -n "$binary" ] && return
  toolchain=$(rustc --print sysroot)
  tar -C "$(dirname "$toolchain")" -c "$(basename "$toolchain")" | docker import --change "ENV PATH=/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" - x402-try-toolchain >/dev/null
  image "$(named rust)" <<IMAGE
FROM $base
$(install ca-certificates)
COPY --from=x402-try-toolchain /$(basename "$toolchain") /toolchain
ENV PATH=/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
IMAGE
}

# The image's last stage around a binary that is there already.
image_of_binary() {
  sed -n '/^FROM \${BASE_IMAGE}/,$p' facilitator/Dockerfile |
    sed -e "s#^FROM .*#FROM $(named debian)#" -e 's#^COPY --from=build [^ ]*#COPY facilitator#' >"$work/last-stage"
  cp "$binary" "$work/facilitator-binary" && mkdir -p "$work/context" && mv "$work/facilitator-binary" "$work/context/facilitator"
  image x402-facilitator "$work/context/facilitator" <"$work/last-stage"
}

# Waits until a command succeeds.
until_it_holds() {
  local seconds=$1
  shift
  for _ in $(seq "$seconds"); do
    "$@" >/dev/null 2>&1 && return
    sleep 1
  done
  fail "after $seconds s it still does not hold: $*"
}

ready() { curl --silent --fail --max-time 5 http://127.0.0.1:8402/ready; }
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$(compose ps --quiet "$1")")" = healthy ]; }
both_seeded() { [ "$(compose logs --no-color seed | grep -c '0.01 USDC went')" -ge 2 ]; }

# A payment on each chain, through HAProxy.
pay() {
  local said
  said=$(compose run --rm -T seed 2>&1) || fail "no payment: $said"
  [ "$(grep -c '0.01 USDC went' <<<"$said")" -eq 2 ] || fail "not a payment on each chain: $said"
}

counted() {
  curl --silent --fail 'http://127.0.0.1:9090/api/v1/query' --data-urlencode "query=$1" | grep --only-matching '"value":\[[^]]*\]' | sed 's/.*"\([0-9.]*\)"\]/\1/'
}
both_are_watched() { [ "$(counted 'sum(up{job=~"facilitator.*"})')" = 2 ]; }

[ "$local_images" = no ] || make_images
[ -z "$binary" ] || image_of_binary

say "everything comes up, and a payment settles on each chain"
bash facilitator/deploy/compose/secrets.sh --dev
build=--build
[ -z "$binary" ] || build=--no-build
compose up "$build" --detach
until_it_holds 300 healthy facilitator-1
until_it_holds 300 healthy facilitator-2
until_it_holds 300 both_seeded
pay

say "Prometheus sees both instances"
until_it_holds 60 both_are_watched

say "an instance is killed: payments go on"
docker kill "$(compose ps --quiet facilitator-1)" >/dev/null
pay
compose up --no-build --detach facilitator-1
until_it_holds 120 healthy facilitator-1

say "both instances restart, one after the other, under payments"
for instance in facilitator-1 facilitator-2; do
  compose restart --timeout 60 "$instance" >/dev/null 2>&1 &
  pay
  wait $!
  until_it_holds 120 healthy "$instance"
  pay
done

say "PostgreSQL restarts, and Redis is emptied: payments go on"
compose restart postgres >/dev/null 2>&1
docker restart "$(compose ps --quiet redis)" >/dev/null
until_it_holds 60 ready
pay

say "the store agrees with both chains"
compose exec -T facilitator-2 facilitator instances --config /etc/facilitator.toml
compose exec -T facilitator-2 facilitator audit --config /etc/facilitator.toml
printf '\nall holds\n' >&2
