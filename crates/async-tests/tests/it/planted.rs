//! A test is believed when it fails on what it is there for: each planted defect makes one fail.
//!
//! `cargo test --features __internal planted` in this directory plants them: see `src/value/failpoint.rs`.

/// Each defect that a test of this binary catches, and the test.
#[cfg(feature = "__internal")]
const CAUGHT: &[(&str, &str)] = &[
    ("queue::leave_tasks_without_leader", "commits::a_commit_of_a_task_is_whole"),
    ("pool::no_bound", "pool::the_pool_has_at_most_64_threads_and_does_everything"),
    ("pool::keep_dropped_work", "pool::work_that_is_dropped_before_its_turn_is_not_done"),
    (
        "progress::forget_tasks",
        "follows::a_view_is_waited_for_without_a_thread_and_read_on_the_pool",
    ),
    (
        "head::forget_tasks",
        "follows::what_comes_to_a_store_or_to_its_replica_is_waited_for_without_a_thread",
    ),
    (
        "group::take_for_the_thread_of_a_task",
        "causes::only_the_task_that_handles_a_delivery_is_caused_by_it",
    ),
    ("context::stamp_on_the_pool_only", "causes::a_command_is_part_of_the_trace_of_its_task"),
    (
        "progress::believe_the_look_before",
        "both::a_thread_that_wakes_tasks_sees_what_moves_meanwhile",
    ),
    ("model::hurry_requests_of_tasks", "both::a_request_of_a_task_waits_for_as_long_as_it_takes"),
    ("pool::drop_bare", "both::what_panics_when_it_is_dropped_does_not_keep_a_store_from_closing"),
    (
        "context::take_for_all_tasks",
        "both::what_one_task_takes_on_the_pool_causes_nothing_of_another_task",
    ),
    ("live::leave_tasks_asleep", "streams::an_append_wakes_the_task_that_waits_for_it"),
    (
        "log::judge_on_the_thread_of_a_task",
        "conditions::a_condition_that_begins_far_back_is_judged_on_the_pool",
    ),
];

#[test]
#[cfg(feature = "__internal")]
fn each_planted_defect_is_caught() {
    crate::plant::assert_each_is_caught(CAUGHT);
}
