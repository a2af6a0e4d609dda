//! Who may reach the server. This version knows hosts and origins; every principal that passes
//! them may do everything.

pub mod origin;

pub use origin::Origins;
