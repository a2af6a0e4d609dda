//! The commands that copy the store: `export`, `import`, `backup` and `restore`, through a running
//! server and on the store itself; and those that tend, watch and measure a server.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait on threads of their own"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod backups_are_whole_or_refused;
mod bad_lines_change_nothing;
mod copies_are_complete;
mod dead_letters_are_tended;
mod hosts_are_measured;
mod memories_v2_is_understood;
mod operations_bound_their_pages;
mod place;
mod places_are_found;
mod servers_are_watched;
