//! A test is believed when it fails on what it is there for: each planted defect makes one fail.
//!
//! `cargo test --features __internal --test it planted` plants them: see `src/value/failpoint.rs`. Those that unit
//! tests catch are in `crates/filmstrip-proof/src/proof/seeded.rs`.

/// Each defect that a test of this binary catches, and the test.
#[cfg(feature = "__internal")]
const CAUGHT: &[(&str, &str)] = &[
    #[cfg(feature = "erasure")]
    (
        "model::keep_what_is_forgotten",
        "erasure::derived::no_state_that_was_in_memory_shows_who_was_forgotten",
    ),
    #[cfg(feature = "erasure")]
    (
        "store::leave_views_of_the_forgotten",
        "erasure::derived::no_file_of_a_view_holds_who_was_forgotten_once_the_store_was_opened_again",
    ),
    #[cfg(feature = "erasure")]
    (
        "store::destroy_before_fence",
        "erasure::forgetting::keys_that_are_not_destroyed_are_an_error_and_the_fence_holds",
    ),
    #[cfg(feature = "erasure")]
    (
        "store::trust_keys_that_are_destroyed",
        "erasure::shared_keys::a_subject_whose_keys_the_application_has_destroyed_is_forgotten_by_the_store",
    ),
    #[cfg(feature = "erasure")]
    (
        "process::pass_on_what_is_private",
        "erasure::passing_on::a_process_records_nothing_of_a_private_event_in_clear",
    ),
    #[cfg(feature = "erasure")]
    (
        "process::record_private_error",
        "erasure::passing_on::a_process_records_nothing_of_a_private_event_in_clear",
    ),
    #[cfg(feature = "erasure")]
    ("relay::send_private_in_clear", "erasure::passing_on::a_relay_sends_private_events_sealed"),
    #[cfg(feature = "erasure")]
    (
        "follow::overlook_who_was_forgotten",
        "erasure::forgetting::a_follower_shows_private_events_as_sealed_and_who_was_forgotten_as_erased",
    ),
    #[cfg(feature = "erasure")]
    ("log::hand_out_the_forgotten", "erasure::held::what_waits_to_be_handed_out_is_erased_by_then"),
    #[cfg(feature = "erasure")]
    (
        "process::keep_state_of_the_forgotten",
        "erasure::held::the_state_of_an_instance_is_computed_again",
    ),
    #[cfg(feature = "erasure")]
    (
        "projection::show_the_forgotten_while_it_rests",
        "erasure::views::the_view_of_a_projection_that_rests_does_not_show_who_was_forgotten",
    ),
    #[cfg(feature = "erasure")]
    (
        "replica::keep_what_is_forgotten",
        "erasure::replicas::a_replica_forgets_whom_its_source_forgets",
    ),
    #[cfg(feature = "erasure")]
    (
        "replica::leave_format_unmarked",
        "erasure::replicas::a_replica_without_keys_has_private_events_sealed_and_knows_who_is_erased",
    ),
    #[cfg(feature = "erasure")]
    (
        "log::admit_after_the_fence",
        "erasure::races::what_was_sealed_before_the_fence_and_is_queued_after_it_is_refused",
    ),
    (
        "group::drop_half_taken_batch",
        "group::whatever_consumers_do_each_event_is_delivered_until_it_is_finished",
    ),
    (
        "replica::skip_frame",
        "replica::a_replica_is_read_as_its_source_and_has_its_journal_byte_for_byte",
    ),
    (
        "replica::leave_chain_unchecked",
        "replica::sources::whatever_a_source_does_with_the_frames_only_the_next_one_is_taken",
    ),
    (
        "replica::write_closing_frame",
        "replica::a_replica_is_read_as_its_source_and_has_its_journal_byte_for_byte",
    ),
    (
        "replica::believe_any_source",
        "replica::histories::a_source_that_was_restored_and_went_another_way_is_refused_by_name",
    ),
    (
        "replica::believe_shorter_source",
        "replica::histories::a_source_that_was_restored_and_went_another_way_is_refused_by_name",
    ),
    (
        "replica::promote_in_memory_only",
        "replica::promotion::a_promoted_replica_is_a_store_whose_history_goes_on",
    ),
    ("process::forget_events_of_effect", "process::a_rejected_command_can_become_an_event"),
    ("process::forget_who_asked", "process::every_event_tells_what_it_follows_from"),
    (
        "process::react_before_deadline",
        "process::deadlines::a_deadline_has_its_place_among_the_events",
    ),
    (
        "process::claim_before_effects",
        "process::lanes::an_instance_whose_effect_takes_long_holds_up_nobody_and_its_own_events_wait_for_it",
    ),
    (
        "process::leave_lanes_running",
        "process::lanes::who_has_paused_or_stopped_a_process_finds_all_lanes_at_rest",
    ),
    (
        "error::drop_state_bare",
        "process::lanes::a_state_that_panics_when_it_is_dropped_ends_nothing_further",
    ),
    (
        "error::drop_state_bare",
        "repository::a_state_that_panics_when_it_is_dropped_ends_no_snapshots",
    ),
    (
        "process::forget_what_is_parked",
        "process::parking::an_instance_that_fails_for_good_is_parked_and_all_others_go_on_over_restarts",
    ),
    (
        "process::keep_what_was_replayed",
        "process::parking::with_park_event_the_step_alone_is_set_aside_and_its_instance_goes_on",
    ),
    (
        "process::forget_what_was_done",
        "process::restarts::after_a_restart_what_was_done_before_the_effects_to_come_is_done",
    ),
    (
        "process::forget_what_was_skipped",
        "process::restarts::an_event_that_was_skipped_when_it_was_read_again_stays_skipped_over_restarts",
    ),
    (
        "process::blame_any_step",
        "process::given_up::a_step_that_conflicts_time_after_time_is_the_one_that_is_parked",
    ),
    (
        "process::replay_without_room",
        "process::limits::no_more_instances_than_may_be_are_at_something_when_many_events_are_replayed",
    ),
    (
        "process::blame_replay_for_store",
        "process::given_up::a_store_that_fails_within_a_replay_leaves_what_is_parked_as_it_was",
    ),
    (
        "process::forgive_conflicts_of_others",
        "process::given_up::a_step_that_conflicts_time_after_time_is_parked_though_others_go_on_meanwhile",
    ),
    (
        "process::load_to_skip",
        "process::given_up::the_deadline_of_an_instance_that_does_not_load_is_parked_and_can_be_skipped",
    ),
    (
        "process::forget_replays",
        "process::given_up::what_is_to_be_replayed_is_replayed_after_a_commit_that_failed",
    ),
    (
        "process::read_again_what_was_skipped",
        "process::given_up::an_event_that_is_skipped_with_its_instance_is_not_read_again_for_it",
    ),
    (
        "process::read_again_without_end",
        "process::restarts::an_event_that_was_skipped_when_it_was_read_again_stays_skipped_over_restarts",
    ),
    (
        "process::read_again_what_is_apart",
        "process::restarts::an_event_that_is_parked_alone_comes_once_though_its_instance_reads_again",
    ),
    (
        "process::add_to_a_large_commit",
        "process::limits::what_instances_decide_together_is_as_many_commits_as_it_takes",
    ),
    (
        "process::park_without_end",
        "process::limits::as_many_instances_as_may_be_are_parked_and_the_next_one_stops_the_process",
    ),
    (
        "process::ingest_without_room",
        "process::limits::no_more_instances_than_may_be_are_at_something_and_the_others_come_later",
    ),
    (
        "process::blame_instance_for_outage",
        "process::parking::what_passes_by_itself_is_tried_again_without_parking_anybody",
    ),
    (
        "store::keep_open_by_weak_handle",
        "closing::what_holds_a_weak_handle_does_not_keep_its_store_open",
    ),
    (
        "storage::keep_relative_path",
        "directory::a_relative_path_means_the_same_whatever_the_working_directory_is_later",
    ),
    (
        "storage::overlook_moved_directory",
        "directory::a_store_whose_directory_was_renamed_leaves_what_is_there_now_alone",
    ),
    (
        "journal::hold_only_the_stores_directory",
        "directory::a_store_whose_journal_was_renamed_makes_nothing_where_it_was",
    ),
    (
        "store::leave_journal_unlocked",
        "directory::a_journal_that_two_directories_lead_to_is_open_once",
    ),
    (
        "store::replace_linked_journal",
        "directory::a_linked_journal_without_a_manifest_is_left_alone",
    ),
    ("journal::remove_leftovers_first", "directory::what_is_refused_keeps_its_leftovers"),
    (
        "store::take_dangling_link_for_ours",
        "directory::a_link_that_leads_nowhere_is_named_and_stays",
    ),
    (
        "journal::replace_unknown_segment",
        "backup::a_strangers_file_with_the_name_of_a_segment_is_not_replaced",
    ),
    (
        "sst::open_file_of_holes",
        "damage::forged::a_pack_of_holes_whose_footer_claims_gigabytes_is_not_read",
    ),
    (
        "relay::resume_one_too_far",
        "relay::a_target_gets_every_event_once_and_in_order_and_goes_on_with_what_it_lacks",
    ),
    ("relay::trust_any_history", "relay::a_target_with_another_history_is_refused_by_name"),
    (
        "kv::leave_garbage",
        "views::the_memory_of_a_view_of_a_few_hot_rows_does_not_grow_with_their_changes",
    ),
    (
        "follow::pass_before_reading",
        "compatibility::a_follower_does_not_pass_what_it_could_not_read",
    ),
    (
        "journal::write_to_removed_segment",
        "directory::a_store_that_was_deleted_acknowledges_nothing_more",
    ),
    ("store::hide_lock_holder", "kill::a_store_that_another_process_has_open_is_locked"),
    ("store::lock_files_only", "directory::a_store_whose_lock_file_was_removed_is_still_locked"),
    (
        "store::lock_files_only",
        "backup::a_backup_that_is_opened_while_another_goes_into_it_is_one_or_the_other",
    ),
    (
        "store::lock_files_only",
        "backup::a_backup_that_is_being_repaired_is_neither_opened_nor_written",
    ),
    (
        "journal::count_links_only",
        "directory::a_deleted_store_acknowledges_nothing_into_a_copy_of_hard_links",
    ),
    (
        "kv::wait_for_a_strangers_file",
        "directory::closing_a_deleted_store_does_not_wait_for_the_one_that_is_there_now",
    ),
    (
        "storage::take_a_loop_for_the_systems",
        "damage::special::a_link_to_itself_in_the_place_of_any_file_is_named_or_healed_at_once",
    ),
    (
        "views::keep_what_is_no_directory",
        "damage::special::whatever_is_in_the_place_of_a_directory_is_found_and_moved_aside",
    ),
    (
        "views::keep_what_is_no_directory",
        "damage::special::a_directory_in_the_place_of_the_note_of_closed_views_is_moved_aside",
    ),
    (
        "store::overwrite_foreign_note",
        "backup::a_strangers_file_with_the_name_of_the_lock_is_refused_and_left_alone",
    ),
    (
        "store::overlook_linked_parts",
        "directory::nothing_goes_into_a_part_of_its_own_store_that_is_elsewhere",
    ),
    (
        "store::sync_above_at_any_rate",
        "directory::an_export_below_a_directory_that_may_not_be_read_leaves_nothing",
    ),
    ("store::take_any_list_for_ours", "repair::a_strangers_file_beside_an_unfinished_export_stays"),
    ("store::leave_what_was_made", "directory::what_is_refused_leaves_nothing_behind"),
    ("storage::overlook_mode", "directory::nobody_may_read_what_he_may_not_read_in_the_store"),
    (
        "journal::take_any_name_for_ours",
        "directory::a_strangers_folder_with_a_name_of_ours_is_refused_and_left_alone",
    ),
    (
        "journal::remove_any_leftover",
        "directory::only_what_is_a_stores_own_is_ever_removed_from_it",
    ),
    ("kv::remove_what_is_not_ours", "directory::only_what_is_a_stores_own_is_ever_removed_from_it"),
    (
        "log::append_in_forked_process",
        "kill::fork::whatever_is_called_in_a_forked_process_is_an_error_and_its_parent_goes_on",
    ),
    (
        "codec::take_newer_frame_for_torn",
        "compatibility::a_newer_format_is_refused_by_name_everywhere_and_nothing_is_changed",
    ),
    (
        "storage::open_whatever_is_there",
        "damage::special::a_directory_device_or_socket_in_the_place_of_any_file_is_named_or_healed_at_once",
    ),
    (
        "log::blame_journal_for_index",
        "damage::index::an_index_of_another_continuation_is_built_again",
    ),
    (
        "kv::failed_sync_is_damage",
        "faults::a_failed_sync_while_a_store_is_opened_moves_nothing_aside",
    ),
    ("follow::wait_for_empty_watermark", "follower::a_follower_says_what_became_of_the_journal"),
    ("follow::wait_for_torn_watermark", "follower::a_follower_says_what_became_of_the_journal"),
    ("storage::take_file_for_directory", "follower::a_follower_says_what_became_of_the_journal"),
    ("follow::wait_without_watermark", "follower::a_follower_says_what_became_of_the_journal"),
    ("follow::overlook_another_store", "follower::a_follower_says_that_its_store_was_replaced"),
    ("follow::overlook_another_history", "follower::a_follower_says_that_its_store_was_replaced"),
    (
        "follow::keep_replaced_files",
        "follower::a_follower_of_a_backup_goes_on_with_the_next_backup",
    ),
    (
        "follow::keep_replaced_headers",
        "follower::a_follower_goes_on_in_a_longer_continuation_of_its_store",
    ),
    (
        "follow::show_what_was_replaced",
        "follower::a_follower_goes_on_in_a_longer_continuation_of_its_store",
    ),
    ("follow::look_out_of_order", "follower::threads_that_share_a_follower_never_see_it_go_back"),
    (
        "views::believe_any_origin",
        "projection::a_view_of_a_history_that_was_given_up_is_made_again",
    ),
    ("doctor::believe_any_view", "projection::the_views_of_another_store_are_made_again"),
    (
        "views::forget_what_was_closed",
        "projection::views_that_were_emptied_halved_or_taken_away_are_found",
    ),
    (
        "model::believe_any_snapshot",
        "repository::a_snapshot_of_a_history_that_was_given_up_is_not_used",
    ),
    (
        "doctor::believe_any_manifest",
        "repair::the_segments_say_which_store_it_is_when_the_manifest_is_anothers",
    ),
    (
        "log::drop_records_of_repetition",
        "append::a_repeated_commit_records_its_newer_tracked_position",
    ),
    ("log::lead_unnoticed", "callbacks::whatever_is_called_within_a_listener_of_a_leader_ends"),
    ("clock::holds_nothing", "callbacks::whatever_is_called_within_the_clock_ends"),
    ("callback::close_within_a_read", "callbacks::whatever_is_called_within_a_read_of_a_view_ends"),
    (
        "callback::close_where_dropped",
        "callbacks::a_store_whose_last_handle_goes_within_a_read_of_a_view_is_closed",
    ),
    ("model::readers_queue", "callbacks::whatever_is_called_within_a_read_of_a_read_model_ends"),
    ("model::readers_queue", "projection::reads_of_views_within_each_other_and_for_each_other_end"),
    (
        "model::change_without_an_end",
        "callbacks::whatever_another_thread_calls_for_a_read_of_a_read_model_ends",
    ),
    (
        "projection::replay_waits_for_its_reader",
        "callbacks::whatever_another_thread_calls_for_a_read_of_a_view_ends",
    ),
    (
        "log::ask_clock_under_locks",
        "callbacks::a_clock_may_wait_for_another_thread_that_uses_a_group",
    ),
    ("bus::wait_for_own_room", "callbacks::whatever_is_called_within_a_listener_of_a_leader_ends"),
    ("bus::wait_for_own_ticket", "callbacks::whatever_is_called_within_a_command_of_a_bus_ends"),
    ("error::drop_payload_bare", "callbacks::whatever_is_called_within_drop_of_a_payload_ends"),
    (
        "model::keep_snapshot_of_another_state",
        "repository::a_snapshot_never_changes_what_a_load_yields",
    ),
    ("json::quote_values", "repository::no_error_log_or_record_holds_what_a_payload_does"),
    (
        "group::ignore_late_ack",
        "group::an_acknowledgement_counts_although_the_event_was_parked_meanwhile",
    ),
    ("group::endless_wait_is_none", "group::times_too_long_for_the_clock_never_end"),
    ("clock::deadline_overflows", "group::times_too_long_for_the_clock_never_end"),
    ("clock::deadline_overflows", "clock::no_wait_is_too_long"),
    (
        "clock::deadline_overflows",
        "follower::an_interval_that_never_ends_waits_for_the_deadline_or_a_stop",
    ),
    (
        "projection::replay_all_at_once",
        "projection::a_replay_goes_in_parts_between_which_new_events_are_taken_in",
    ),
    (
        "projection::hide_what_came_before",
        "projection::while_an_event_is_tried_again_what_came_before_it_can_be_seen_and_the_status_says_why",
    ),
    (
        "worker::retry_without_a_word",
        "projection::while_an_event_is_tried_again_what_came_before_it_can_be_seen_and_the_status_says_why",
    ),
    (
        "worker::retry_without_a_word",
        "process::while_something_is_tried_again_the_status_says_what_and_why",
    ),
    (
        "subscription::drop_what_has_no_room",
        "subscription::whatever_its_buffer_and_however_it_is_read_each_event_comes_once_and_in_order",
    ),
    (
        "projection::decode_all_within_the_scan",
        "rows::a_page_decodes_the_rows_that_it_returns_and_no_others",
    ),
    (
        "projection::decode_all_within_the_scan",
        "rows::while_rows_are_decoded_the_projection_goes_on",
    ),
    (
        "projection::end_with_the_view",
        "rows::rows_are_read_in_order_from_either_end_by_whoever_reads_them",
    ),
    (
        "projection::merge_forwards",
        "rows::rows_are_read_in_order_from_either_end_by_whoever_reads_them",
    ),
    (
        "worker::resume_unasked",
        "projection::a_rebuild_of_a_paused_projection_waits_until_it_is_resumed_or_started_again",
    ),
    (
        "projection::cut_within_commits",
        "projection::a_commit_is_not_seen_half_though_what_is_written_together_is_cut",
    ),
    (
        "subscription::hand_out_after_stop",
        "subscription::after_a_stop_nothing_is_handed_out_but_by_the_channel_itself",
    ),
    (
        "subscription::hand_out_after_stop",
        "subscription::after_a_stop_both_ways_of_taking_end_and_what_was_not_taken_is_not_passed",
    ),
    (
        "index::keep_older_indexes",
        "compatibility::a_store_of_format_1_opens_with_what_was_written_into_it",
    ),
    (
        "subscription::pass_what_waits",
        "subscription::its_position_passes_what_is_not_wanted_and_never_what_was_not_taken",
    ),
    (
        "live::join_past_what_was_seen",
        "subscription::one_that_begins_in_the_past_beside_one_that_is_live_misses_nothing",
    ),
    (
        "live::wake_for_the_unwanted",
        "subscription::those_for_whom_nothing_comes_have_no_thread_and_nobody_is_woken_for_them",
    ),
    (
        "live::watch_for_nobody",
        "subscription::those_for_whom_nothing_comes_have_no_thread_and_nobody_is_woken_for_them",
    ),
    (
        "projection::drop_half_taken_batch",
        "projection::whatever_interrupts_a_batch_each_event_is_applied_once",
    ),
    (
        "process::drop_half_taken_batch",
        "process::whatever_interrupts_a_batch_each_event_is_reacted_to_once",
    ),
    (
        "log::clock_behind_untold",
        "clock::that_the_clock_is_behind_what_is_recorded_can_be_seen_and_is_logged_once",
    ),
    (
        "kv::leave_garbage",
        "views::the_memory_of_a_view_of_new_rows_does_not_grow_with_its_rows_or_rebuilds",
    ),
    (
        "log::believe_assumed_commits",
        "transaction::queued::whatever_conflicts_nobody_is_told_of_a_state_that_never_was",
    ),
    (
        "model::reject_on_a_queued_state",
        "transaction::queued::whatever_conflicts_nobody_is_told_of_a_state_that_never_was",
    ),
    (
        "model::overlook_queued_command",
        "transaction::queued::a_command_that_is_sent_again_while_it_is_queued_runs_once",
    ),
    (
        "model::keep_expected_times",
        "transaction::queued::a_state_has_the_places_and_times_that_its_events_have_got",
    ),
    ("value::accept_any_tag", "tags::what_cannot_be_a_tag_is_refused_and_says_why"),
    (
        "value::accept_one_of_the_tags",
        "tags::whatever_reads_events_finds_the_same_ones_by_their_tags",
    ),
    ("group::forget_long_filter", "tags::live_subscribers_and_a_group_get_what_has_their_tags"),
    ("doctor::lose_tags_of_parts", "tags::what_takes_the_place_of_an_event_in_a_copy_has_its_tags"),
    (
        "doctor::copy_with_any_id",
        "copy::a_copy_has_what_each_event_becomes_and_everything_else_as_it_was",
    ),
    (
        "doctor::copy_with_old_versions",
        "copy::a_copy_has_what_each_event_becomes_and_everything_else_as_it_was",
    ),
    (
        "doctor::overlook_forgotten_commands",
        "copy::going_on::a_command_of_which_nothing_is_left_is_counted_and_runs_again",
    ),
    (
        "doctor::copy_without_closings",
        "copy::each_hash_that_was_noted_holds_in_a_copy_without_a_change",
    ),
    (
        "doctor::take_events_from_groups",
        "copy::going_on::a_copy_takes_no_event_from_a_group_that_wants_only_its_type",
    ),
    (
        "doctor::copy_with_old_words",
        "copy::going_on::what_is_parked_is_described_as_it_is_in_the_copy",
    ),
    (
        "views::keep_entries_of_replaced_row",
        "indexes::rows_and_indexes_agree_whatever_is_put_removed_rebuilt_and_restarted",
    ),
    (
        "views::take_any_indexes",
        "indexes::a_view_that_was_stored_with_other_indexes_is_rebuilt_and_refuses_to_be_read_by_them_until_then",
    ),
    (
        "projection::pass_by_the_secondary_key",
        "indexes::rows_and_indexes_agree_whatever_is_put_removed_rebuilt_and_restarted",
    ),
    ("projection::fold_past_the_moment", "past::a_view_as_of_a_moment_is_what_it_was_then"),
    (
        "projection::hold_any_past",
        "past::a_view_that_takes_more_memory_than_it_may_is_refused_with_both_numbers",
    ),
    (
        "projection::explain_without_other_rows",
        "past::a_row_is_explained_by_the_events_that_have_written_it",
    ),
    ("projection::explain_twice", "past::a_row_is_explained_by_the_events_that_have_written_it"),
    (
        "context::forget_cause",
        "causation::a_command_of_a_consumer_is_caused_by_what_it_was_delivered",
    ),
    (
        "context::guess_cause",
        "causation::of_two_open_deliveries_none_is_taken_for_the_cause_unless_it_is_said",
    ),
    ("causation::look_near_only", "causation::a_cause_is_found_whatever_its_id_tells_of_its_time"),
    ("causation::stop_at_direct_effects", "causation::a_tree_is_what_a_plain_search_finds"),
    ("stats::fail_at_damage", "health::a_follower_that_stopped_at_damage_is_among_the_figures"),
    ("health::overlook_faults", "health::a_fault_is_a_fault_of_the_store_and_names_its_cause"),
    ("doctor::copy_with_old_cursors", "copy::going_on::a_consumer_group_goes_on_where_it_was"),
    (
        "log::judge_after_inclusively",
        "conditions::events_up_to_the_position_do_not_matter_and_the_first_one_after_it_does",
    ),
    (
        "log::overlook_what_came_meanwhile",
        "conditions::of_eight_that_want_the_same_one_gets_it_each_time",
    ),
    ("log::overlook_the_group", "conditions::of_eight_that_want_the_same_one_gets_it_each_time"),
    ("log::overlook_the_group", "conditions::conditions_that_overlap_in_any_way_have_one_winner"),
    ("log::overlook_the_group", "linearizability::a_history_recorded_under_load_is_linearizable"),
    (
        "log::tell_checks_of_a_later_head",
        "linearizability::a_history_recorded_under_load_is_linearizable",
    ),
    ("log::judge_own_events", "conditions::a_commits_own_events_are_no_conflict"),
    (
        "log::overlook_repeated_conditions",
        "conditions::the_same_conditional_commit_again_is_recognised_though_it_appends_to_any_version",
    ),
    (
        "log::take_own_events_for_anothers",
        "conditions::the_same_conditional_commit_again_is_recognised_though_it_appends_to_any_version",
    ),
    (
        "log::take_all_tags_for_alike",
        "conditions::events_that_are_appended_together_are_each_found_by_their_own_tags_and_type",
    ),
    ("follow::believe_any_index", "follower_streams::an_index_of_another_history_is_not_believed"),
    ("log::believe_any_after", "conditions::a_position_past_the_head_is_refused_with_both"),
    (
        "decision::show_again_after_a_conflict",
        "decisions::after_a_conflict_the_model_is_shown_only_what_is_new",
    ),
    (
        "decision::begin_the_condition_at_the_new_head",
        "decisions::after_a_conflict_the_model_is_shown_only_what_is_new",
    ),
    (
        "decision::show_what_is_not_wanted",
        "decisions::each_part_is_shown_what_its_own_filter_accepts_in_its_own_event_set",
    ),
    (
        "decision::overlook_what_the_model_does_not_see",
        "decisions::a_condition_that_accepts_what_the_model_is_not_shown_is_refused",
    ),
    (
        "decision::show_the_oldest",
        "decisions::a_model_that_needs_the_newest_events_is_shown_these_and_then_each_new_one",
    ),
    (
        "decision::overlook_a_recorded_command",
        "decisions::a_decision_with_a_command_id_is_recorded_once_over_restarts",
    ),
    (
        "decision::forget_the_command",
        "decisions::a_command_that_is_sent_twice_at_the_same_time_is_recorded_once",
    ),
];

#[test]
#[cfg(feature = "__internal")]
fn each_planted_defect_is_caught() {
    crate::plant::assert_each_is_caught(CAUGHT);
}

/// A defect that nobody looks for proves nothing, and one that is gone from the code neither.
#[test]
fn every_planted_defect_is_looked_for() {
    let mut files = ["src", "crates/filmstrip-nats/src"].map(std::path::PathBuf::from).to_vec();
    let mut planted = std::collections::BTreeSet::new();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if !path.ends_with("failpoint.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("failpoint!(\"").skip(1);
            planted.extend(names.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    assert!(planted.len() >= 15, "only {planted:?}");
    let tables = [
        "tests/it/planted.rs",
        "crates/filmstrip-proof/src/proof/seeded.rs",
        "crates/async-tests/tests/it/planted.rs",
        "crates/filmstrip-nats/tests/it/planted.rs",
    ];
    let tables = tables.map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let missing: Vec<_> =
        planted.iter().filter(|name| !tables.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "no test looks for {missing:?}");
}
