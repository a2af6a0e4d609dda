//! Load of the long run: agents that do everything a little, peers that break every rule, and clients
//! that come and go all at once.

pub(crate) mod churn;
mod client;
mod crowd;
pub(crate) mod hostile;
mod judge;
pub(crate) mod mixed;
mod wrongs;
