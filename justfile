# Recipes for those who have `just`; every one is an ordinary command that can be typed instead.

# What there is
default:
    @just --list

# Everything that must hold before a change lands
ci:
    .ci/run

# The tests, as in the README
test:
    cargo test

# The proofs of docs/DURABILITY.md in their long form, and a table of their figures
proof:
    .ci/proof

# Formatting and lints, mending what can be mended
tidy:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged -- -D warnings

# The documentation, in the browser
doc:
    cargo doc --no-deps --open

# The benchmarks, each beside its raw baseline
bench *ARGS:
    cargo bench {{ ARGS }}

# The story of the API, in a store beside the project
customers:
    cargo run --release --example customers

# A git repository's history as a film, checked against git's own numbers
git-history PATH *ARGS:
    cargo run --release --example git_history -- {{ PATH }} --check {{ ARGS }}

# Licences, sources and bans; and the advisories, which need the network
deny:
    cargo deny check bans licenses sources
    cargo deny check advisories
