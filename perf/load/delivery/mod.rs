//! Load of the delivery part: sessions of the subprotocol `tmws.v1` that send, receive and acknowledge.

pub(crate) mod fanout;
pub(crate) mod flood;
mod floor;
pub(crate) mod hold;
pub(crate) mod pairs;
pub(crate) mod peer;
pub(crate) mod resume;
