//! What every store does, one file per property; files named `sqlite_*` and `postgres_*` hold what
//! one of them alone promises. The others run on both and know nothing but `Rc<dyn Store>`.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait on threads of their own"
)]

mod a_caller_finds_what_it_just_stored;
mod agents_have_so_many_messages_waiting;
mod agents_keep_what_a_registration_leaves_out;
mod any_query_is_answered;
mod as_of_shows_what_was_valid_then;
mod both_stores_answer_alike;
mod dead_letters_keep_what_was_given_up;
mod deleting_hides_and_purging_removes;
mod expired_memories_are_gone_at_once;
mod exports_come_back_whole;
mod fixture;
mod grants_allow_what_they_say;
mod history_keeps_every_version;
mod keys_make_writes_happen_once;
mod levels_admit_their_readers;
mod mail;
mod mcp_tasks_tell_the_truth;
mod messages_wait_until_they_are_settled;
mod models_change_at_once;
mod one_failure_harms_no_neighbour;
mod pages_are_stable_under_inserts;
mod postgres_brings_old_data_along;
mod postgres_comes_back;
mod postgres_guards_rows;
mod postgres_nodes_share_queues;
mod postgres_refuses_newer_schemas;
mod postgres_searches_large_scopes;
mod private_memories_leave_no_trace;
mod queues_lose_no_message;
mod reads_are_counted;
mod service;
mod session_secrets_last;
mod sqlite_commits_in_groups;
mod sqlite_guards_its_directory;
mod sqlite_opens_after_a_torn_write;
mod sqlite_recovers_without_restart;
mod sqlite_serves_past_faults_of_the_disk;
mod sqlite_survives_sigkill;
mod stats_count_what_one_may_read;
mod superseded_memories_leave_search;
mod updates_compare_and_set;
mod upkeep_removes_what_is_over;
mod volatile_messages_leave_a_mark;
mod what_one_may_not_see_is_not_found;
