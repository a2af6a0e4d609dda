//! Bodies of requests: read whole, within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::config::limits::{BODY_BYTES_DROPPED_MAX, BODY_BYTES_MAX};
use crate::rpc::{Condition, Fault};

/// Time for a request's body: at 1 MiB a client slower than 35 KB a second is cut off.
const BODY_SECONDS_MAX: Duration = Duration::from_secs(30);

/// True for the media type of JSON, whatever its parameters.
pub(super) fn is_json(content_type: &HeaderValue) -> bool {
    let text = content_type.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads a body. `waits` says that the client sends it only once it is told to (RFC 9110, 10.1.1).
pub(super) async fn read(body: Incoming, waits: bool) -> Result<Bytes, Fault> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        // A client that waits for 100 Continue sends nothing that would have to be read.
        if !waits {
            read_away(body);
        }
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_SECONDS_MAX, collect(body)).await {
        Ok(collected) => collected,
        Err(_) => Err(Fault::new(Condition::Timeout, "the body took too long")),
    }
}

async fn collect(mut body: Incoming) -> Result<Bytes, Fault> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Fault::new(Condition::InvalidRequest, "the body ended early"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            read_away(body);
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// Reads on in a refused body while its answer is on the way: a client that is still writing when
/// the connection closes would never see the answer.
fn read_away(mut body: Incoming) {
    tokio::task::spawn_local(async move {
        let reading = async {
            let mut count = 0;
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
                if count > BODY_BYTES_DROPPED_MAX {
                    break;
                }
            }
        };
        // Whoever takes longer does not read its answer either.
        let _ = tokio::time::timeout(BODY_SECONDS_MAX, reading).await;
    });
}

fn too_large() -> Fault {
    Fault::new(
        Condition::MessageTooLarge,
        format!("the body exceeds {BODY_BYTES_MAX} bytes"),
    )
}
