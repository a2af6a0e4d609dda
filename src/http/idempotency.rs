//! The header by which a request that comes twice happens once.

use http::HeaderMap;

use crate::domain::Violation;
use crate::rpc::Fault;

/// The key of a request. What a key may be is for operations to say.
pub(super) fn header_key(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let invalid = |problem| Fault::from(Violation::new("Idempotency-Key", problem));
    if values.next().is_some() {
        return Err(invalid("stands more than once"));
    }
    let text = value.to_str();
    text.map(Some)
        .map_err(|_| invalid("holds characters beyond ASCII"))
}
