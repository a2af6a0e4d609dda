//! The server as a whole, one file per property.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait on threads of their own"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod batches;
mod buffers_run_out;
mod calls_answer;
mod calls_are_cancelled;
mod calls_of_one_key_are_one;
mod deliveries_are_counted;
mod deliveries_survive;
mod descriptors_run_out;
mod drain_loses_nothing;
mod eras;
mod events_are_told;
mod five_hundred_mixed_clients;
mod fleet;
mod http_beside_websocket;
mod http_speaks_both_eras;
mod io_uring_is_refused;
mod keys_survive_kills;
mod large_answers;
mod limits_hold;
mod malformed_input_harms_nobody;
mod memories_are_found_by_meaning;
mod messages_follow_the_schema;
mod nodes_are_one;
mod performance_is_reported;
mod restarts_without_a_gap;
mod runs_on_postgres;
mod senders_change_nodes;
mod senders_keep_their_order;
mod sends_are_whole;
mod sessions_are_private;
mod sessions_survive_stops;
mod slots_are_reused;
mod slow_consumers;
mod slow_reader;
mod storms_lose_no_message;
mod survives_kill;
mod tasks_survive;
mod watched_resources_tell_changes;
