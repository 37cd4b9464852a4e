//! Tests the proofs: each planted defect must make a proof or a test fail.

use crate::value::failpoint::VARIABLE;
use crate::value::random::first_seed;
use std::process::Command;

const CUTS: &str = "proof::cuts::a_power_cut_at_any_step_leaves_all_that_was_acknowledged_or_seen";

/// Runs the test `proof` in a process with the planted defect `bug`, and expects that it fails.
fn assert_caught(bug: &str, proof: &str) {
    assert_caught_within(1, bug, proof);
}

/// The same for a proof that tries one case of several, chosen by its seed, and may miss it. It is run with so many
/// seeds at most, and then once in its long form, which tries every case.
fn assert_caught_within(runs: u64, bug: &str, proof: &str) {
    let mut said = String::new();
    let short = (first_seed()..first_seed() + runs).map(|seed| (seed, "1"));
    for (seed, rounds) in short.chain((runs > 1).then_some((first_seed(), "2"))) {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args([proof, "--exact", "--nocapture"]);
        test.env(VARIABLE, bug);
        test.env("FILMSTRIP_ROUNDS", rounds).env("FILMSTRIP_SEED", seed.to_string());
        test.env("RUST_BACKTRACE", "0");
        let output = test.output().unwrap();
        said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("running 1 test"), "there is no test {proof}:\n{said}");
        if !output.status.success() {
            assert!(said.contains("panicked at"), "{bug} ended it without a panic:\n{said}");
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

const REPLICAS: &str = "proof::replicas::a_power_cut_at_any_step_leaves_a_beginning_of_the_source_with_all_that_was_shown";

#[test]
fn a_replica_that_shows_frames_before_their_sync_is_caught() {
    assert_caught("replica::show_before_sync", REPLICAS);
}

#[test]
fn a_replica_that_is_recovered_as_if_it_had_one_frame_in_flight_is_caught() {
    assert_caught_within(4, "journal::expect_one_frame_in_flight", REPLICAS);
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
fn a_reader_of_scattered_entries_that_waits_for_each_is_caught() {
    let tests = "journal::scattered::tests";
    let cold = "what_the_page_cache_lacks_is_announced_before_the_first_of_it_is_waited_for";
    assert_caught("journal::announce_nothing", &format!("{tests}::{cold}"));
    let close = "entries_that_are_close_to_each_other_are_read_at_once";
    assert_caught("journal::read_each_entry_by_itself", &format!("{tests}::{close}"));
}

#[test]
fn a_look_at_a_segment_that_asks_for_its_times_is_caught() {
    let proof = "storage::stat::tests::a_look_leaves_the_time_of_the_next_write_as_coarse_as_it_is";
    assert_caught("storage::look_at_times", proof);
}

const INDEX_FAULTS: &str =
    "proof::index::whichever_operation_fails_the_index_is_whole_when_it_is_opened_again";
const INDEX_CUTS: &str =
    "proof::index::a_power_cut_at_any_operation_of_the_index_leaves_what_its_checkpoint_lists";

#[test]
fn a_compaction_that_drops_a_run_is_caught() {
    assert_caught("sst::drop_run_in_compaction", INDEX_FAULTS);
}

const POSTINGS_BY_SCAN: &str =
    "log::matching::postings_tests::a_filter_is_matched_as_a_scan_of_the_log_would_match_it";

#[test]
fn a_compaction_that_drops_a_posting_is_caught() {
    let proof = "index::tests::tags::postings_after_any_merging_are_those_of_an_index_built_again";
    assert_caught("sst::drop_posting_in_compaction", proof);
}

#[test]
fn an_event_that_is_indexed_without_its_tags_is_caught() {
    let proof = "index::tests::tags::postings_are_those_that_a_walk_over_the_events_finds_whatever_was_merged";
    assert_caught("index::skip_posting", proof);
    assert_caught("index::skip_posting", POSTINGS_BY_SCAN);
}

#[test]
fn tags_that_leave_the_tail_before_the_index_has_them_are_caught() {
    let proof = "log::matching::postings_tests::an_event_is_found_by_its_tag_at_any_moment_while_it_is_indexed";
    assert_caught("log::drop_tags_before_they_are_indexed", proof);
}

#[test]
fn a_follower_that_skips_an_event_too_many_is_caught() {
    let proof =
        "log::read::skip::tests::a_follower_that_skips_ahead_comes_to_each_event_that_it_wants";
    assert_caught("log::skip_an_event_too_many", proof);
}

#[test]
fn a_feed_that_skips_the_frame_before_an_event_is_caught() {
    let proof = "follow::feed::tests::a_follower_of_tags_that_lags_gets_each_event_of_them_and_comes_to_the_head";
    assert_caught("feed::skip_the_frame_before", proof);
}

#[test]
fn a_posting_whose_type_is_not_judged_is_caught() {
    assert_caught("log::ignore_type_of_posting", POSTINGS_BY_SCAN);
}

#[test]
fn a_read_by_postings_that_ends_early_is_caught() {
    assert_caught("log::leave_a_tag_after_its_first_event", POSTINGS_BY_SCAN);
}

#[test]
fn an_obsolete_table_that_is_removed_before_the_checkpoint_names_its_successor_is_caught() {
    assert_caught("index::remove_obsolete_tables_first", INDEX_FAULTS);
    assert_caught("index::remove_obsolete_tables_first", INDEX_CUTS);
}

#[test]
fn a_block_that_is_read_without_its_checksum_is_caught() {
    let proof = "index::tests::damage::flipped_bits_in_a_table_are_refused_when_they_are_read";
    assert_caught("sst::read_without_checksum", proof);
}

#[test]
fn a_log_truncated_at_damage_in_its_middle_is_caught() {
    let proof = "journal::tests::recovery::\
         every_flipped_byte_before_the_last_frame_is_corrupt_and_in_it_leaves_the_prefix";
    assert_caught("journal::truncate_at_mid_log_damage", proof);
}

#[test]
fn a_frame_within_a_payload_that_is_believed_is_caught() {
    let proof = "journal::tests::damage::a_frame_that_a_user_stored_is_not_believed_after_damage";
    assert_caught("journal::believe_any_found_frame", proof);
}

#[test]
fn an_index_that_is_moved_aside_for_want_of_memory_is_caught() {
    let proof = "proof::faults::exhausted_memory_says_nothing_against_a_running_index";
    assert_caught("log::heal_when_exhausted", proof);
}

#[test]
fn a_commit_that_is_admitted_though_what_it_assumes_was_refused_is_caught() {
    let proof = "log::commit::admit::tests::\
         what_assumes_a_commit_that_was_refused_is_refused_though_its_version_holds";
    assert_caught("log::believe_assumed_commits", proof);
}

#[test]
fn a_condition_that_is_judged_otherwise_than_alone_is_caught() {
    let proof = "log::commit::group::tests::\
                 a_group_admits_what_its_commits_would_be_one_after_the_other";
    let bugs = [
        "log::overlook_the_group",
        "log::overlook_what_came_meanwhile",
        "log::tell_checks_of_a_later_head",
    ];
    bugs.into_iter().for_each(|bug| assert_caught_within(5, bug, proof));
    let proof = "log::matching::tests::a_condition_is_judged_as_a_scan_of_the_log_would_judge_it";
    assert_caught("log::judge_after_inclusively", proof);
    let proof = "proof::conditions::\
                 wherever_the_power_is_cut_no_two_commits_are_there_that_exclude_each_other";
    assert_caught("log::overlook_the_group", proof);
    assert_caught("log::overlook_repeated_conditions", proof);
}

#[test]
fn events_that_a_frame_holds_beyond_its_count_are_caught() {
    let proof = "log::read::frame_events::tests::\
                 a_frame_that_holds_other_events_than_it_says_is_damaged_and_shows_none_without_a_position";
    assert_caught("read::show_more_than_the_frame_says", proof);
}

#[test]
fn a_turn_that_goes_to_the_last_who_came_is_caught() {
    let proof =
        "log::commit::turns_tests::turns_are_given_in_the_order_in_which_they_were_asked_for";
    assert_caught("log::last_come_first", proof);
}

#[test]
fn a_snapshot_for_each_of_the_commands_that_build_on_each_other_is_caught() {
    let proof = "model::repository::snapshots::tests::\
                 commands_of_several_threads_on_one_stream_offer_one_snapshot_for_so_many_events";
    assert_caught("model::forget_offered_snapshots", proof);
}

#[test]
fn effects_that_are_listed_one_by_one_are_caught() {
    let proof = "model::process::durable_state::tests::what_is_written_for_an_effect_does_not_grow_with_their_number";
    assert_caught("codec::list_each_effect", proof);
}

#[test]
fn a_reaction_that_no_commit_has_room_for_and_is_taken_is_caught() {
    let proof =
        "model::process::plan::tests::what_is_not_large_and_the_largest_reaction_are_one_commit";
    assert_caught("process::take_any_reaction", proof);
}

#[test]
fn effects_that_are_forgotten_or_give_other_commands_after_a_crash_are_caught() {
    let proof = "proof::processes::wherever_the_power_is_cut_each_command_runs_once";
    for bug in ["process::forget_effects_to_come", "process::give_commands_new_ids"] {
        assert_caught_within(20, bug, proof);
    }
}

#[test]
fn an_instance_that_reacts_before_its_effects_is_caught() {
    let proof = "model::process::schedule::tests::an_event_waits_for_the_effects_of_the_one_before";
    assert_caught("process::react_before_effects", proof);
}

#[test]
fn an_instance_in_two_lanes_is_caught() {
    let proof = "model::process::schedule::tests::an_instance_is_with_one_lane_at_a_time";
    assert_caught("process::run_in_two_lanes", proof);
}

#[test]
fn every_deadline_in_memory_is_caught() {
    let proof = "model::process::deadlines::tests::\
                 a_million_deadlines_take_the_memory_of_a_few_and_come_in_order";
    assert_caught("process::hold_every_deadline", proof);
}

#[test]
fn more_remembered_of_what_is_skipped_than_is_read_again_or_may_be_is_caught() {
    for bug in ["process::remember_all_that_is_skipped", "process::skip_without_end"] {
        let proof = "model::process::durable_state::tests::\
             what_is_skipped_is_remembered_only_for_an_instance_that_waits_from_before_it_on_and_within_bounds";
        assert_caught(bug, proof);
    }
}

#[test]
fn conflicts_that_are_counted_for_ever_are_caught() {
    let proof = "model::process::conflicts::tests::\
                 each_instance_is_counted_by_itself_and_the_counts_are_bounded";
    assert_caught("process::count_every_conflict", proof);
}

#[test]
fn a_cursor_past_events_that_nobody_remembers_is_caught() {
    let proof = "model::process::durable_state::tests::\
                 a_commit_writes_what_has_changed_and_what_the_journal_does_not_know";
    assert_caught("process::forget_who_waits", proof);
}

#[test]
fn a_cursor_that_hides_waiting_events_from_older_versions_is_caught() {
    let proof = "codec::process::tests::\
                 a_cursor_past_events_that_wait_is_not_read_by_who_does_not_know_of_them";
    assert_caught("codec::hide_waiting_instances", proof);
}

#[test]
fn a_path_that_cannot_be_shown_is_caught() {
    let proof = "store::as_json::what_is_in_a_directory_whose_name_is_not_utf_8_is_shown";
    assert_caught("value::refuse_some_paths", proof);
}

#[test]
fn a_path_that_stays_when_its_directory_is_moved_is_caught() {
    let proof =
        "storage::held::tests::what_is_made_by_a_steady_path_is_made_where_the_directory_is_now";
    assert_caught("storage::look_up_each_path", proof);
}

#[test]
fn a_name_of_a_stream_that_is_taken_for_a_category_is_caught() {
    assert_caught(
        "value::accept_any_category",
        "value::filter::tests::what_is_no_category_is_refused",
    );
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

/// Planted defects in the indexes of views, and in what is read to fold a view again.
#[test]
fn indexes_of_views_that_do_not_agree_with_their_rows_are_caught() {
    let seeded = [
        (
            "views::entries_apart_from_rows",
            "index::tests::views::whenever_the_process_dies_a_view_and_its_indexes_agree",
        ),
        (
            "views::believe_any_indexes",
            "model::projection::tests::indexes::\
             a_view_whose_rows_were_changed_without_their_indexes_is_rebuilt",
        ),
        (
            "log::leave_a_stream_after_its_first_event",
            "model::projection::tests::past::\
             what_a_filter_selects_is_read_from_its_streams_if_they_are_few",
        ),
    ];
    for (bug, proof) in seeded {
        assert_caught(bug, proof);
    }
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
    let proof = "proof::faults::\
         whichever_write_or_sync_fails_the_acknowledged_stand_and_a_reopened_store_goes_on";
    assert_caught("log::reuse_position_after_failed_group", proof);
}

/// sled's threads decide when they write its log, and in one run of four nothing is lost.
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
fn a_checkpoint_written_by_its_path_alone_is_caught() {
    let proof = "index::checkpoint::tests::a_checkpoint_is_not_written_beside_another_index";
    assert_caught("index::trust_the_checkpoints_path", proof);
}

#[test]
fn a_groups_batch_dropped_when_half_of_it_was_taken_in_is_caught() {
    let proof = "follow::group::tests::\
         whatever_happens_every_event_ends_and_the_cursor_passes_no_unfinished_one";
    assert_caught("group::drop_half_taken_batch", proof);
}

#[test]
fn a_lost_last_frame_that_is_overlooked_is_caught() {
    let proof =
        "journal::tests::recovery::a_last_durable_frame_that_is_gone_without_a_trace_is_corrupt";
    assert_caught("journal::overlook_lost_last_frame", proof);
}

#[test]
fn a_frame_that_found_no_room_and_is_left_there_is_caught() {
    let proof = "proof::faults::\
         a_frame_that_finds_no_room_on_a_disk_that_copies_was_not_written_if_nothing_of_it_is_left";
    assert_caught("journal::leave_failed_frame", proof);
}

#[test]
fn a_segment_of_a_backup_that_is_reused_unchecked_is_caught() {
    let proof = "store::backup::tests::what_is_there_is_checked_in_turn_within_a_budget";
    assert_caught("journal::reuse_unchecked", proof);
}

#[test]
fn what_a_newer_version_wrote_and_is_ignored_is_caught() {
    let proof =
        "journal::tests::damage::what_a_newer_version_wrote_is_refused_and_nothing_is_changed";
    for bug in [
        "codec::ignore_newer_entry",
        "codec::ignore_newer_record",
        "codec::ignore_newer_flags",
        "codec::ignore_newer_extras",
    ] {
        assert_caught(bug, proof);
    }
}

#[test]
fn a_line_of_a_newer_manifest_that_is_ignored_is_caught() {
    let proof = "journal::manifest::tests::a_line_that_is_not_known_is_refused_by_name";
    assert_caught("journal::ignore_newer_manifest_line", proof);
}

#[test]
fn a_length_of_a_segment_that_is_believed_is_caught() {
    let proof = "journal::tests::damage::a_segment_that_claims_more_than_any_has_is_corrupt";
    assert_caught("journal::believe_any_length", proof);
}

#[test]
fn numbers_of_the_index_and_the_views_that_are_believed_are_caught() {
    for (bug, proof) in [
        (
            "codec::believe_any_run_length",
            "codec::sst::block_index::tests::a_run_that_claims_more_events_than_an_event_block_holds_is_malformed",
        ),
        (
            "codec::believe_any_row_length",
            "codec::row::tests::a_row_in_pieces_that_is_longer_than_any_is_not_what_was_written",
        ),
        (
            "codec::believe_any_checkpoint",
            "codec::checkpoint::tests::a_checkpoint_with_a_number_that_no_store_reaches_is_not_used",
        ),
    ] {
        assert_caught(bug, proof);
    }
}

#[test]
fn a_frames_header_in_a_torn_frame_that_is_believed_is_caught() {
    let proof = "journal::tests::recovery::a_header_within_a_torn_frame_is_no_frame";
    assert_caught("journal::believe_header_in_torn_frame", proof);
}

#[test]
fn copies_of_torn_writes_that_are_all_kept_are_caught() {
    let proof = "journal::tests::recovery::only_the_newest_copies_of_torn_writes_are_kept";
    assert_caught("journal::keep_every_torn", proof);
}

#[test]
fn what_was_moved_aside_and_is_all_looked_at_is_caught() {
    let proof = "index::quarantine::tests::moving_aside_looks_at_a_few_of_those_that_were_moved_aside_before";
    assert_caught("index::look_at_all_aside", proof);
}

#[test]
fn what_was_moved_aside_and_is_all_kept_is_caught() {
    let proof = "index::tests::damage::only_the_newest_two_damaged_indexes_are_kept";
    assert_caught("index::keep_all_aside", proof);
}

#[test]
fn a_copy_that_everybody_can_read_is_caught() {
    let proof =
        "store::scratch::tests::a_copy_is_private_and_one_that_a_kill_left_is_removed_by_the_next";
    assert_caught("store::public_copy", proof);
}

#[test]
fn a_strangers_file_below_the_top_that_goes_is_caught() {
    let proof = "store::scratch::tests::a_strangers_file_at_any_depth_keeps_an_abandoned_directory";
    assert_caught("storage::look_at_top_names_only", proof);
}

#[test]
fn what_a_refused_creation_leaves_is_caught() {
    let proof = "store::directory::tests::a_creation_that_fails_leaves_nothing_behind";
    assert_caught("store::leave_what_was_made", proof);
}

#[test]
fn a_record_of_another_history_that_is_believed_is_caught() {
    let proof = "proof::faults::what_a_window_of_a_history_that_was_given_up_left_in_the_index_is_not_served";
    assert_caught("log::believe_any_record", proof);
}

#[test]
fn an_index_that_is_never_built_again_is_caught() {
    let proof = "proof::faults::an_index_that_cannot_be_built_again_is_tried_again_and_what_does_not_need_it_goes_on";
    assert_caught("log::never_try_index_again", proof);
}

#[test]
fn an_index_that_failed_half_way_and_is_kept_is_caught() {
    let proof = "proof::faults::an_index_that_failed_half_way_is_opened_again";
    assert_caught("log::keep_broken_index", proof);
}

#[test]
fn a_stall_that_is_told_by_the_clock_alone_is_caught() {
    let proof = "proof::windows::a_process_that_was_stopped_for_a_while_goes_on";
    assert_caught("log::tell_stall_by_clock", proof);
}

/// The verification must run at the moment of a rebuild.
#[test]
fn a_rebuilt_index_that_a_verification_overlooks_is_caught() {
    let proof = "proof::windows::an_audit_whose_index_is_replaced_holds_nothing_newer_against_it";
    assert_caught("doctor::overlook_rebuilt_index", proof);
}

#[test]
fn a_second_panic_that_is_not_caught_is_caught() {
    let proof =
        "value::error::tests::a_payload_that_panics_when_it_is_dropped_ends_nothing_further";
    assert_caught("error::drop_payload_bare", proof);
}

#[test]
fn readers_that_queue_behind_a_change_are_caught() {
    let proof = "model::readable::tests::a_reader_passes_a_change_that_waits_within_another_read_and_after_a_while";
    assert_caught("model::readers_queue", proof);
}

#[test]
fn a_change_that_never_gives_up_is_caught() {
    let proof = "model::readable::tests::who_waits_for_readers_gives_up_when_asked_to_and_nobody_waits_for_it_then";
    assert_caught("model::change_without_an_end", proof);
}

#[test]
fn changes_that_wait_for_each_other_are_caught() {
    let proof =
        "model::readable::tests::within_a_change_the_value_is_refused_and_two_that_cross_end";
    assert_caught("model::wait_for_crossed_change", proof);
}

#[test]
fn an_event_that_reads_back_as_another_and_is_kept_is_caught() {
    let proof =
        "model::event_set::tests::single::each_event_that_reads_back_as_another_one_is_refused";
    assert_caught("model::keep_what_reads_back_as_another", proof);
}

#[test]
fn a_judgement_that_is_older_than_who_joined_and_is_believed_is_caught() {
    let proof = "follow::live::tests::\
         what_was_judged_before_somebody_joined_wakes_the_thread_that_watches";
    assert_caught("live::believe_older_judgement", proof);
}

#[test]
fn a_wait_without_end_that_is_none_is_caught() {
    let proof = "follow::group::tests::a_wait_too_long_for_any_clock_never_ends";
    assert_caught("group::endless_wait_is_none", proof);
}

#[test]
fn a_deadline_that_overflows_is_caught() {
    let proof =
        "model::progress::tests::a_wait_ends_when_the_position_is_reached_or_the_time_is_over";
    assert_caught("clock::deadline_overflows", proof);
}

#[test]
fn events_of_one_frame_that_are_looked_up_one_by_one_are_caught() {
    let proof = "follow::group::tests::events_that_are_read_in_order_take_one_look_at_each_frame";
    assert_caught("log::look_up_each_event", proof);
}

#[test]
fn a_process_that_stays_faulted_after_a_full_disk_is_caught() {
    let proof = "proof::faults::a_process_that_met_a_full_disk_goes_on_by_itself";
    assert_caught("model::full_disk_is_for_good", proof);
}

#[test]
fn want_of_memory_that_is_told_as_damage_is_caught() {
    let proof =
        "kv::failure::tests::a_panic_for_want_of_memory_is_the_systems_and_others_are_the_files";
    assert_caught("kv::want_of_memory_is_damage", proof);
}

#[test]
fn an_error_that_quotes_a_payload_is_caught() {
    let proof = "value::json::told::tests::what_a_message_quotes_is_left_out_and_the_rest_is_kept";
    assert_caught("json::quote_values", proof);
}

#[test]
fn an_id_that_cannot_be_made_when_a_thread_ends_is_caught() {
    let proof = "value::event::id::tests::an_event_can_be_made_when_its_thread_ends";
    assert_caught("event::id_of_rand", proof);
}

#[test]
fn a_thread_that_asks_itself_and_waits_is_caught() {
    let proof = "model::request::tests::a_thread_that_asks_itself_does_not_wait";
    assert_caught("model::ask_and_wait_for_itself", proof);
}

#[test]
fn a_page_that_reads_past_its_rows_is_caught() {
    let proof = "model::projection::tests::work::\
         a_page_reads_its_own_rows_however_many_there_are";
    assert_caught("projection::read_past_the_page", proof);
}

#[test]
fn a_view_that_is_written_for_each_batch_though_it_lags_behind_is_caught() {
    let proof = "model::projection::tests::work::\
         a_view_that_lags_behind_is_not_written_for_each_batch";
    assert_caught("projection::write_each_batch", proof);
}

/// Planted defects in what wakes feeds.
#[test]
fn what_goes_wrong_with_feeds_that_sleep_is_caught() {
    for (bug, test) in [
        (
            "feed::wake_for_the_unwanted",
            "who_wants_nothing_of_what_is_appended_is_not_woken_and_is_at_the_head_all_the_same",
        ),
        (
            "feed::sleep_past_what_is_awaited",
            "who_waits_for_a_position_to_come_is_answered_though_nothing_of_it_is_wanted",
        ),
        (
            "progress::move_in_silence",
            "who_waits_for_a_position_is_answered_though_another_caller_was_first_to_see_it",
        ),
        ("feed::note_nothing", "what_is_passed_over_is_noted_now_and_then"),
        ("feed::claim_what_waits", "what_waits_to_be_applied_is_not_counted_as_passed"),
        (
            "feed::believe_older_judgement",
            "who_enrolled_after_a_judgement_is_woken_and_nobody_else",
        ),
    ] {
        assert_caught(bug, &format!("follow::feed::tests::{test}"));
    }
}

/// Planted defects in what is parked.
#[test]
fn what_goes_wrong_with_parked_events_is_caught() {
    for (bug, test) in [
        ("codec::park_each_alone", "what_is_parked_together_is_in_few_entries_of_the_view"),
        (
            "projection::lose_rest_of_entry",
            "a_parked_event_is_applied_once_whichever_write_of_its_replay_fails",
        ),
        (
            "views::checkpoint_before_view",
            "a_parked_event_is_applied_once_whichever_write_of_its_replay_fails",
        ),
        (
            "projection::blame_replay_for_store",
            "a_store_that_fails_within_a_replay_is_told_to_its_caller_and_leaves_what_is_parked_as_it_was",
        ),
        (
            "projection::discard_all_at_once",
            "a_discard_takes_a_bounded_number_of_parked_events_at_a_time",
        ),
    ] {
        assert_caught(bug, &format!("model::projection::tests::parking::{test}"));
    }
}

#[test]
fn a_removal_that_fails_a_write_which_was_made_is_caught() {
    let proof = "model::projection::tests::\
         an_event_is_applied_once_whichever_write_of_a_long_row_fails";
    assert_caught("views::fail_write_that_was_made", proof);
}

/// Planted defects in backups, exports, copies, torn writes and views, and the proof of `proof::operations` that
/// catches each.
/// The short form of a proof tries one of several operations of the disk, chosen by its seed.
#[test]
fn what_goes_wrong_when_an_operation_of_the_disk_is_the_last_one_is_caught() {
    const FAILS: &str = "whichever_operation_of_the_disk_fails_it_is_done_or_can_be_done_again";
    const IS_CUT: &str = "wherever_the_power_is_cut_it_is_done_or_can_be_done_again";
    for (bug, operation, proof) in [
        ("store::leave_failed_export", "an_export", FAILS),
        ("store::leave_export_unmarked", "an_export", IS_CUT),
        ("store::trust_found_mark", "an_export_over_another", IS_CUT),
        ("doctor::export_without_finish", "an_export", IS_CUT),
        ("doctor::copy_without_finish", "a_copy", IS_CUT),
        ("storage::leave_name_unsynced", "a_first_backup", IS_CUT),
        ("store::backup_manifest_first", "a_first_backup", IS_CUT),
        ("journal::leave_copy_unsynced", "a_first_backup", IS_CUT),
        ("journal::clear_torn_before_copy", "a_torn_write", IS_CUT),
        ("views::note_before_sync", "first_views", IS_CUT),
    ] {
        assert_caught_within(20, bug, &format!("proof::operations::{operation}::{proof}"));
    }
}

#[test]
fn a_copy_that_takes_commits_apart_is_caught() {
    let proof = "doctor::copy::tests::what_was_in_one_commit_is_in_one_commit";
    assert_caught("doctor::copy_commits_apart", proof);
}

#[test]
fn a_copy_that_holds_every_deadline_is_caught() {
    let proof = "doctor::copy::tests::deadlines_are_not_held";
    assert_caught("doctor::hold_deadlines", proof);
}

#[test]
fn an_export_that_takes_a_strangers_list_for_its_own_is_caught() {
    let proof = "store::export_target::tests::\
         a_strangers_file_that_appears_beside_an_export_stays";
    assert_caught("store::take_any_list_for_ours", proof);
}

#[test]
fn a_write_that_was_made_and_is_told_as_failed_is_caught() {
    let proof = "index::tests::pace::\
         a_write_that_was_made_and_cannot_be_synced_has_not_failed_and_the_next_one_is_not_made";
    assert_caught("kv::fail_write_that_was_made", proof);
}

#[test]
fn figures_that_wait_for_an_index_that_is_being_rebuilt_are_caught() {
    let proof = "store::stats::tests::nobody_waits_for_an_index_that_is_being_rebuilt";
    assert_caught("log::ask_while_rebuilt", proof);
}

#[test]
fn a_sealed_event_that_is_not_bound_to_its_stream_or_content_is_caught() {
    let tests = "sealing::event::tests";
    let another = format!("{tests}::a_sealed_payload_opens_as_no_other_event");
    assert_caught("sealing::leave_stream_unauthenticated", &another);
    let nonces = format!("{tests}::no_nonce_is_used_for_two_contents");
    assert_caught("sealing::leave_content_out_of_nonce", &nonces);
}

#[test]
fn a_key_ring_that_makes_nothing_durable_is_caught() {
    let cuts =
        "proof::forgetting::a_power_cut_at_any_step_leaves_everything_of_a_subject_or_nothing";
    assert_caught("store::destroy_before_fence", cuts);
    let replica = "store::replication::private_tests::\
         a_replica_destroys_no_key_before_the_fence_is_durable_there";
    assert_caught("replica::destroy_before_fence", replica);
    let cuts = "proof::keyring::\
         a_power_cut_at_any_step_leaves_each_key_that_was_returned_and_none_that_was_destroyed";
    assert_caught("keyring::use_key_before_it_is_synced", cuts);
    assert_caught("keyring::leave_bucket_name_unsynced", cuts);
    assert_caught("keyring::leave_destroyed_unsynced", cuts);
    assert_caught("keyring::trust_what_is_not_synced", cuts);
    let again = "proof::forgetting::\
         what_is_forgotten_again_after_a_failed_sync_stays_forgotten_after_a_power_cut";
    assert_caught("keyring::trust_what_is_not_synced", again);
}

#[test]
fn a_key_ring_that_keeps_what_it_should_not_is_caught() {
    let tests = "keyring::tests";
    for (defect, test) in [
        ("keyring::keep_what_was_not_synced", "faults::a_key_whose_sync_failed_is_not_found_again"),
        (
            "keyring::overlook_damaged_slot",
            "damage::a_flipped_bit_of_a_slot_is_an_error_and_never_a_new_key_or_a_forgotten_subject",
        ),
        ("keyring::leave_destroyed_in_memory", "keeping::a_destroyed_key_is_not_in_memory_either"),
        (
            "keyring::remove_without_overwriting",
            "rekeying::what_the_former_key_opens_is_overwritten",
        ),
        (
            "keyring::sync_only_what_could_not_be_synced",
            "faults::what_could_not_be_synced_is_written_again_before_it_is_believed",
        ),
        ("keyring::allow_ring_in_store", "lock::a_ring_within_a_store_is_refused"),
    ] {
        assert_caught(defect, &format!("{tests}::{test}"));
    }
}
