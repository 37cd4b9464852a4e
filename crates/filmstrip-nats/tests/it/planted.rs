//! A test is believed when it fails on what it is there for: each planted defect makes one fail.
//!
//! `cargo test -p filmstrip-nats --features __internal planted` plants them.

/// Each defect that a test of this binary catches, and the test.
#[cfg(feature = "__internal")]
const CAUGHT: &[(&str, &str)] = &[
    ("nats::send_no_expected_sequence", "outages::a_message_of_somebody_else_is_refused_by_name"),
    (
        "relay::resume_one_too_far",
        "kills::a_relaying_process_that_is_killed_goes_on_where_the_stream_is",
    ),
];

#[test]
#[cfg(feature = "__internal")]
fn each_planted_defect_is_caught() {
    crate::plant::assert_each_is_caught(CAUGHT);
}
