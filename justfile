# Recipes for `just`. Each is an ordinary command that you can type instead.

# List the recipes
default:
    @just --list

# Run everything that must pass before a change lands
ci:
    .ci/run

# Run all tests
test:
    cargo test

# Change bytes of a store at random: each is found or shown not to matter. And export around damage
flips N="2000":
    FILMSTRIP_FLIPS={{ N }} cargo test --release --test it verify::a_byte_changed -- --nocapture
    FILMSTRIP_FLIPS={{ N }} cargo test --release --test it around_random -- --nocapture

# Run the proofs of docs/DURABILITY.md in their short form
proofs:
    cargo test -p filmstrip-proof -- proof:: fuzz::

# Run the proofs of docs/DURABILITY.md in their long form, and print a table of their figures
proof:
    .ci/proof

# Run the engine's hand-overs under schedules that a checker chooses
models:
    cargo test --manifest-path crates/models/Cargo.toml

# Test the async face: its documentation, and under tokio, smol and by hand
async:
    cargo test --features async --doc -- aio async_services
    cargo test -p async-tests --features __internal

# Test the command line
cli:
    cargo test -p filmstrip-cli

# Test the relay to NATS with servers that are killed; so many times
nats ROUNDS="1":
    FILMSTRIP_ROUNDS={{ ROUNDS }} cargo test -p filmstrip-nats

# Test the studio over HTTP and in Chromium; with a directory, keep pictures of its pages there
studio SCREENSHOTS="":
    {{ if SCREENSHOTS == "" { "" } else { "FILMSTRIP_SCREENSHOTS=" + SCREENSHOTS } }} cargo test -p filmstrip-studio

# Test with other features of dependencies, which any crate of a program may switch on
features:
    cargo test --manifest-path crates/features/Cargo.toml --lib -- event json readback codec export
    cargo test --manifest-path crates/features/Cargo.toml --features arbitrary_precision --test arbitrary_precision
    cargo test --manifest-path crates/features/Cargo.toml --features arbitrary_precision --test it -- repository:: compatibility::

# Test what the feature `metrics` adds
metrics:
    cargo test --features metrics --lib -- telemetry log::
    cargo test -p metrics-tests

# Fuzz each decoder for so many seconds, guided by coverage. Needs `cargo install cargo-fuzz`
fuzz SECONDS="30":
    .ci/fuzz {{ SECONDS }}

# Write the fuzzer's seeds from a new store; only a new check needs it
fuzz-seeds:
    FILMSTRIP_WRITE_SEEDS=1 cargo test -p filmstrip-proof fuzz::tests::what_a_store_makes_today

# Format, and fix what clippy can fix
tidy:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged -- -D warnings

# Open the documentation in the browser
doc:
    cargo doc --no-deps --open

# Run the benchmarks, each with its raw baseline
bench *ARGS:
    cargo bench {{ ARGS }}

# Compare instructions on the hot paths with the recorded ones; `-- --check` fails on a rise. Needs valgrind
instructions *ARGS:
    cargo bench --bench instructions {{ ARGS }}

# Example: the story of the API, in a store in the current directory
customers:
    cargo run --release --example customers

# Example: a day at a bank (conflicts, snapshots, views), in a store in the current directory
bank *ARGS:
    cargo run --release --example bank -- {{ ARGS }}

# Example: why a customer is in some state: its events, who caused them, its state on a date
audit *ARGS:
    cargo run --release --example audit -- {{ ARGS }}

# Example: two services with a store each; kill it and run it again
order-payment *ARGS:
    cargo run --release --example order_payment -- {{ ARGS }}

# Example: students enrol in courses (decisions across streams, raced by threads), in a store in the current directory
course-enrolment *ARGS:
    cargo run --release --example course_enrolment -- {{ ARGS }}

# Example: a customer asks to be forgotten; the directory erasure-data must not be there yet
right-to-erasure *ARGS:
    cargo run --features erasure --example right_to_erasure -- {{ ARGS }}

# Kill the order_payment example at random moments, in so many rounds
order-payment-kills ROUNDS="200":
    FILMSTRIP_ROUNDS={{ ROUNDS }} cargo test --release --test it order_payment::

# Example: a git repository's history as streams, checked against git's own numbers
git-history PATH *ARGS:
    cargo run --release --example git_history -- {{ PATH }} --check {{ ARGS }}

# Check licences, sources and bans; and the advisories, which need the network
deny:
    cargo deny check bans licenses sources
    cargo deny check advisories

# Compare with other engines (an hour or more): writes docs/benchmarks/RESULTS.md and plots. `--repository PATH` (absolute) adds a git history; `--help` lists more
compare *ARGS:
    mkdir -p docs/benchmarks
    cd crates/bench-compare && cargo run --release -- --output ../../docs/benchmarks/RESULTS.md {{ ARGS }}

# Run some tests in a longer form (kills, a rebuild, a race); takes some minutes
prove:
    FILMSTRIP_ROUNDS=200 cargo test --release --test it killed_again -- --nocapture
    FILMSTRIP_EVENTS=1000000 cargo test --release --test it during_a_rebuild -- --nocapture
    FILMSTRIP_COMMANDS=10000 cargo test --release --test it repository::racing -- --nocapture
