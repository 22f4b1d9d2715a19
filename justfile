# What must hold, one recipe per check. CI runs tests/run.sh, which needs no `just`: each of its steps is a recipe here.
# The recipes below `docs` need a tool of their own, which `just tools` installs.

# Everything that CI runs.
all:
    tests/run.sh

fmt:
    cargo fmt --all

lint:
    tests/run.sh fmt lint

purity:
    tests/run.sh purity

features:
    tests/run.sh features

test:
    tests/run.sh services test

bench:
    cargo bench -p marzban-sync-benches

docs:
    tests/run.sh docs

# Installs what the recipes below need.
tools:
    cargo install --locked cargo-deny cargo-hack cargo-mutants typos-cli

# Licences, sources and banned crates of all dependencies.
deny:
    cargo deny --all-features check bans licenses sources

# Both crates with each of their features by itself, and with none.
each-feature:
    cargo hack check --each-feature --no-dev-deps -p marzban-api -p marzban-sync-core

typos:
    typos

# Both crates as they would be published, built from the package.
package:
    cargo package --locked -p marzban-api -p marzban-sync-core

# A hundred thousand random histories.
histories count="100000":
    HISTORIES={{count}} cargo test --locked --release -p marzban-sync-core --all-features --test it -- histories::nobody --nocapture

# Each law with a few hundred thousand random cases.
laws count="500000":
    LAW_CASES={{count}} cargo test --locked --release -p marzban-sync-core --all-features --test it -- laws::

# Mutations of the decisions that no test of the core notices; docs/mutants.md has the last result.
mutants:
    cargo mutants --package marzban-sync-core --all-features --file 'marzban-sync-core/src/decide/**' -- --test it -- --skip histories
