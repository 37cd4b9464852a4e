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

# Bytes changed at random all over a store, each found or shown to mean nothing; and exports around damage
flips N="2000":
    FILMSTRIP_FLIPS={{ N }} cargo test --release --test it verify::a_byte_changed -- --nocapture
    FILMSTRIP_FLIPS={{ N }} cargo test --release --test it around_random -- --nocapture

# The proofs of docs/DURABILITY.md in their long form, and a table of their figures
proof:
    .ci/proof

# The engine's hand-overs under schedules that a checker chooses
models:
    cargo test --manifest-path crates/models/Cargo.toml

# The engine with other features of its dependencies, which any crate of a program may switch on
features:
    cargo test --manifest-path crates/features/Cargo.toml --lib -- event json readback codec export
    cargo test --manifest-path crates/features/Cargo.toml --features arbitrary_precision --test arbitrary_precision
    cargo test --manifest-path crates/features/Cargo.toml --features arbitrary_precision --test it -- repository:: compatibility::

# Any bytes for each decoder, guided by coverage, for so many seconds each. Needs `cargo install cargo-fuzz`
fuzz SECONDS="30":
    .ci/fuzz {{ SECONDS }}

# The fuzzer's seeds, out of a new store; only a new check needs it
fuzz-seeds:
    FILMSTRIP_WRITE_SEEDS=1 cargo test --lib fuzz::tests::what_a_store_makes_today

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

# Instructions on the hot paths beside the recorded ones; `-- --check` fails on a rise. Needs valgrind
instructions *ARGS:
    cargo bench --bench instructions {{ ARGS }}

# The story of the API, in a store beside the project
customers:
    cargo run --release --example customers

# A day at a bank: conflicts, snapshots, views; in a store beside the project
bank *ARGS:
    cargo run --release --example bank -- {{ ARGS }}

# Why a customer is in this state: the film, who caused it, rewound to a date
audit *ARGS:
    cargo run --release --example audit -- {{ ARGS }}

# Two services with a store each; kill it and run it again
order-payment *ARGS:
    cargo run --release --example order_payment -- {{ ARGS }}

# The same, killed at random moments in so many rounds
order-payment-kills ROUNDS="200":
    FILMSTRIP_ROUNDS={{ ROUNDS }} cargo test --release --test it order_payment::

# A git repository's history as a film, checked against git's own numbers
git-history PATH *ARGS:
    cargo run --release --example git_history -- {{ PATH }} --check {{ ARGS }}

# Licences, sources and bans; and the advisories, which need the network
deny:
    cargo deny check bans licenses sources
    cargo deny check advisories

# filmstrip beside other engines: writes docs/benchmarks/RESULTS.md and its plots; takes an hour or more. With `--repository PATH`, a whole path, a git history too; `--help` tells the rest
compare *ARGS:
    mkdir -p docs/benchmarks
    cd crates/bench-compare && cargo run --release -- --output ../../docs/benchmarks/RESULTS.md {{ ARGS }}

# The long forms of what the tests show in short: kills, a rebuild, a race; some minutes
prove:
    FILMSTRIP_ROUNDS=200 cargo test --release --test it killed_again -- --nocapture
    FILMSTRIP_EVENTS=1000000 cargo test --release --test it during_a_rebuild -- --nocapture
    FILMSTRIP_COMMANDS=10000 cargo test --release --test it repository::racing -- --nocapture
