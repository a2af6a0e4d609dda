//! TMWS: a thread-per-core memory and workflow server that AI agents share over MCP.
//!
//! The modules stand in the order of their layers and **imports only point up this page**;
//! `tests/structure` keeps it so. `ARCHITECTURE.md` beside this file tells where a message goes.

// Foundation
pub mod allocator;

pub mod config;
pub mod telemetry;

pub mod net;

// Codecs
pub mod framing;

pub mod rpc;

// Data
pub mod domain;

pub mod store;

pub mod embed;

// Application
pub mod auth;

pub mod delivery;

pub mod operations;

pub mod dispatch;

// Runtime
pub mod shard;

pub mod http;

pub mod server;

pub mod cli;
