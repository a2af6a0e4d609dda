//! Who may reach the server. This version knows hosts and origins; every principal that passes
//! them may do everything.

pub mod origin;
mod seal;

pub use origin::Origins;
pub use seal::{SEAL_SECONDS, Seal, SealError};
