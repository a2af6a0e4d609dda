//! From texts to vectors.
//!
//! [`Embedder`] is all that the rest of the server sees. Behind it a `provider` makes vectors:
//! the model of `minilm` on kernels of our own, a service, or hashed words. The work runs on
//! threads that the server starts from [`Worker`]s; this module starts none.
//!
//! Invariants: asking never blocks; a vector has the model's dimension and length 1; what cannot
//! be served is an error at once, never a wait without end.

mod install;
mod kernels;
mod minilm;
mod pool;
mod provider;
mod tokenizer;

pub use install::{InstallError, Installed, Stage, install, installed};
pub use kernels::Isa;
pub use minilm::{LoadError, MiniLm, Precision};
pub use pool::{Busyness, EmbedError, EmbedStats, Embedder, Embedding, State, Worker};
pub use tokenizer::{Tokenizer, TokenizerError};
