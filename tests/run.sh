#!/usr/bin/env bash
# The one test command. On a fresh Debian or Ubuntu with Rust and a C compiler it installs what it needs
# (PostgreSQL and Chromium, if there is none), and then runs everything that must hold.
# `tests/run.sh lint docs` runs these steps alone; each is a recipe of the justfile too.
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
step_purity() {
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
  if grep -rnE '\basync\b|\.await|::now\(|\bClock\b|tracing::|\bstd::(env|fs|io|net|thread)\b|\b(serde_json|http|hyper|reqwest|tokio|bytes|url|base64|futures_util)::' \
    marzban-api/src/testing/panel marzban-api/src/testing/panel.rs | grep -vE '^[^:]+:[0-9]+: *//'; then
    echo 'the rules of the fake panel know neither I/O nor HTTP nor JSON' >&2
    return 1
  fi
}

step_services() {
  have_postgres || install \
    'No PostgreSQL server: install one, or set TEST_DATABASE_URL to a server where databases may be created.' \
    postgresql postgresql-contrib
  have_chromium || install \
    'No Chromium: install it and its driver (packages chromium and chromium-driver).' \
    chromium chromium-driver fonts-dejavu-core
}

step_fmt() {
  cargo fmt --all --check
}

step_lint() {
  cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
}

# Each feature of the core by itself; `just each-feature` tries both crates by cargo-hack.
step_features() {
  local features
  for features in '' failpoints jobs marzban memory metrics schedule scheduler sqlite postgres test-util; do
    cargo clippy --locked --quiet -p marzban-sync-core --no-default-features --features "$features" -- -D warnings
  done
}

# Without --all-targets, which would build the examples as tests: some tests run them as the programs that they are.
step_test() {
  REQUIRE_POSTGRES=1 REQUIRE_CHROMIUM=1 cargo test --locked --workspace --all-features
}

step_bench() {
  cargo test --locked -p marzban-sync-benches --benches
}

# The documentation, and the list of public items in it: a change of that list is a change of docs/public-api.
# The `testing` of marzban-api is outside semver, and not listed.
step_docs() {
  RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --all-features
  local crate listed docs
  docs=$(cargo metadata --locked --no-deps --format-version 1 | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)/doc
  for crate in marzban-api marzban-sync-core; do
    listed=$(grep -o 'href="[a-z_/A-Z0-9.]*\.html"' "$docs/${crate//-/_}/all.html" | cut -d'"' -f2 \
      | sed -E 's#(.*/)?([a-z]+)\.([A-Za-z0-9_]+)\.html#\2 \1\3#; s#/#::#g' | grep ' ' | LC_ALL=C sort -u)
    [ "$crate" = marzban-sync-core ] || listed=$(grep -v ' testing::' <<<"$listed")
    if [ "${UPDATE_PUBLIC_API:-}" = 1 ]; then
      mkdir -p docs/public-api
      printf '%s\n' "$listed" >"docs/public-api/$crate.txt"
    elif ! diff -u "docs/public-api/$crate.txt" <(printf '%s\n' "$listed"); then
      echo "the public items of $crate have changed: UPDATE_PUBLIC_API=1 tests/run.sh docs writes the new list" >&2
      return 1
    fi
  done
}

steps=("$@")
[ $# -gt 0 ] || steps=(services fmt purity lint features test bench docs)
for name in "${steps[@]}"; do
  if ! declare -F "step_$name" >/dev/null; then
    echo "there is no step $name; the steps are: services fmt purity lint features test bench docs" >&2
    exit 2
  fi
  step "$name"
  "step_$name"
done
step 'Everything holds'
