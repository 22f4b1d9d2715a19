#!/usr/bin/env bash
# The one test command. On a fresh Debian or Ubuntu with Rust and a C compiler it installs what it needs
# (PostgreSQL and Chromium, if there is none), and then runs everything that must hold.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
# Incremental compilation only costs time and space where everything is built once.
export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"

step() { printf '\n=== %s (%s s)\n' "$*" "$SECONDS"; }

have_postgres() {
  [ -n "${TEST_DATABASE_URL:-}" ] && return 0
  [ -n "${PG_BINDIR:-}" ] && [ -x "$PG_BINDIR/initdb" ] && return 0
  command -v initdb >/dev/null && return 0
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

have_chromium() {
  command -v chromedriver >/dev/null
}

# Installs packages; the first argument says what to do where that is not possible.
install() {
  local advice=$1 sudo=()
  shift
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  if ! command -v apt-get >/dev/null; then
    echo "$advice" >&2
    return 1
  fi
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# What the pure core may not depend on, and where a name may stand.
purity() {
  local tree
  tree=$(cargo tree --locked -p marzban-sync-core --no-default-features -e normal)
  if grep -E '(tokio|reqwest|hyper|diesel|rand) v' <<<"$tree"; then
    echo 'marzban-sync-core without features must not depend on these' >&2
    return 1
  fi
  tree=$(cargo tree --locked -p marzban-sync-core --no-default-features --features schedule -e normal)
  if grep -E '(tokio|reqwest|hyper|diesel|rand) v' <<<"$tree"; then
    echo 'the schedules must not depend on these' >&2
    return 1
  fi
  tree=$(cargo tree --locked --workspace --all-features -e normal,build --prefix none)
  if grep -E '^(openssl-sys|native-tls|pq-sys) v' <<<"$tree"; then
    echo 'TLS is rustls, and PostgreSQL is spoken without libpq' >&2
    return 1
  fi
  if grep -rlE '\bbackoff::' marzban-api/src | grep -v '^marzban-api/src/client/retry.rs$'; then
    echo 'only marzban-api/src/client/retry.rs may name backoff' >&2
    return 1
  fi
  if grep -rnE '\basync\b|\.await|::now\(|\bClock\b|tracing::|\bstd::(env|fs|io|net|thread)\b' \
    marzban-sync-core/src/model marzban-sync-core/src/decide marzban-api/src/model | grep -vE '^[^:]+:[0-9]+: *//'; then
    echo 'the models and the decisions must be pure' >&2
    return 1
  fi
}

step 'PostgreSQL'
have_postgres || install \
  'No PostgreSQL server: install one, or set TEST_DATABASE_URL to a server where databases may be created.' \
  postgresql postgresql-contrib
export REQUIRE_POSTGRES=1

step 'Chromium'
have_chromium || install \
  'No Chromium: install it and its driver (packages chromium and chromium-driver).' \
  chromium chromium-driver fonts-dejavu-core
export REQUIRE_CHROMIUM=1

step 'Format'
cargo fmt --all --check

step 'Purity'
purity

step 'Lints'
cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

step 'Each feature by itself'
for features in "" failpoints jobs marzban memory metrics schedule scheduler sqlite postgres test-util; do
  cargo clippy --locked --quiet -p marzban-sync-core --no-default-features --features "$features" -- -D warnings
done

step 'Tests'
# Without --all-targets, which would build the examples as tests: some tests run them as the programs that they are.
cargo test --locked --workspace --all-features

step 'Benchmarks, each once'
cargo test --locked -p marzban-sync-benches --benches

step 'Documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --all-features

step 'Everything holds'
