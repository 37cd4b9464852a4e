//! A proof is believed when it catches what it should: each planted defect makes one fail.

use crate::failpoint::VARIABLE;
use std::process::Command;

const CUTS: &str = "proof::cuts::a_power_cut_at_any_step_leaves_all_that_was_acknowledged_or_seen";

/// Runs the test `proof` in a process that has `bug`, and expects that it fails.
fn assert_caught(bug: &str, proof: &str) {
    assert_caught_within(1, bug, proof);
}

/// The same for a proof that may miss it, and is run so often, at most.
fn assert_caught_within(runs: usize, bug: &str, proof: &str) {
    let mut said = String::new();
    for _ in 0..runs {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args([proof, "--exact", "--nocapture"]);
        test.env(VARIABLE, bug);
        test.env("FILMSTRIP_ROUNDS", "1").env("RUST_BACKTRACE", "0");
        let output = test.output().unwrap();
        said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("running 1 test"), "there is no test {proof}:\n{said}");
        if !output.status.success() {
            assert!(said.contains("panicked at"), "{bug} ended it without a word:\n{said}");
            println!("figures: planted defect {bug}: caught");
            return;
        }
    }
    panic!("{bug} went unnoticed:\n{said}");
}

#[test]
fn a_commit_acknowledged_before_its_sync_is_caught() {
    assert_caught("journal::acknowledge_before_sync", CUTS);
}

#[test]
fn a_segment_whose_name_is_not_synced_is_caught() {
    assert_caught("journal::skip_directory_sync", CUTS);
}

#[test]
fn a_frame_accepted_with_a_bad_checksum_is_caught() {
    assert_caught("codec::accept_bad_checksum", CUTS);
}

#[test]
fn a_log_truncated_at_damage_in_its_middle_is_caught() {
    let proof = "journal::tests::\
         every_flipped_byte_before_the_last_frame_is_corrupt_and_in_it_leaves_the_prefix";
    assert_caught("journal::truncate_at_mid_log_damage", proof);
}

#[test]
fn an_event_published_before_it_is_durable_is_caught() {
    assert_caught("log::publish_before_durable", CUTS);
}

#[test]
fn a_checkpoint_written_before_its_view_is_caught() {
    let proof = "index::tests::views::whenever_the_process_dies_a_view_and_its_checkpoint_agree";
    assert_caught("views::checkpoint_before_view", proof);
}

#[test]
fn a_checkpoint_written_before_its_index_is_caught() {
    let proof = "index::tests::crash::a_power_cut_leaves_an_index_that_goes_on";
    assert_caught("index::checkpoint_before_index", proof);
}

#[test]
fn a_tail_dropped_after_a_failed_write_of_the_index_is_caught() {
    let proof = "proof::tail::whichever_write_of_the_index_fails_nothing_is_lost";
    assert_caught("log::lose_tail_on_failed_index_write", proof);
}

#[test]
fn a_position_given_out_again_after_a_failed_group_is_caught() {
    let proof = "store::faults::\
         whichever_write_or_sync_fails_the_acknowledged_stand_and_a_reopened_store_goes_on";
    assert_caught("log::reuse_position_after_failed_group", proof);
}

/// When sled writes its log is up to its threads, and in one run of four nothing is lost by it.
#[test]
fn log_of_sleds_left_unsynced_is_caught() {
    let proof = "index::tests::pace::a_power_cut_takes_nothing_that_was_synced";
    assert_caught_within(10, "kv::leave_sled_log_unsynced", proof);
}

#[test]
fn a_last_frame_shown_after_a_crash_without_a_sync_is_caught() {
    assert_caught("journal::show_last_frame_unsynced", CUTS);
}

#[test]
fn a_groups_batch_dropped_when_half_of_it_was_taken_in_is_caught() {
    let proof = "follow::group::tests::\
         whatever_happens_every_event_ends_and_the_cursor_passes_no_unfinished_one";
    assert_caught("group::drop_half_taken_batch", proof);
}

#[test]
fn a_lost_last_frame_that_is_overlooked_is_caught() {
    let proof = "journal::tests::a_last_durable_frame_that_is_gone_without_a_trace_is_corrupt";
    assert_caught("journal::overlook_lost_last_frame", proof);
}

#[test]
fn a_frame_that_found_no_room_and_is_left_there_is_caught() {
    let proof = "store::faults::\
         a_frame_that_finds_no_room_on_a_disk_that_copies_was_not_written_if_nothing_of_it_is_left";
    assert_caught("journal::leave_failed_frame", proof);
}

#[test]
fn a_segment_of_a_backup_that_is_reused_unchecked_is_caught() {
    let proof = "store::backup::tests::what_is_there_is_checked_in_turn_within_a_budget";
    assert_caught("journal::reuse_unchecked", proof);
}
