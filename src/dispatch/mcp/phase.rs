//! Which era a connection speaks.

use crate::rpc::Fault;
use crate::rpc::jsonrpc::Call;
use crate::rpc::mcp::{self, Era, Params};

/// What the requests so far have fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No request has come.
    New,
    /// The legacy era, before `initialize`.
    Legacy,
    /// The legacy era at the negotiated revision.
    Initialized(&'static str),
    /// The modern era.
    Modern,
    /// One request of the modern era, beside which others may be of the other.
    ModernAlone,
}

impl Phase {
    /// True if a request of this era, that was admitted before on a connection that spoke it, may come now.
    pub(super) fn admits(self, era: Era) -> bool {
        match self {
            Self::New | Self::Legacy => false,
            Self::Initialized(_) => era == Era::Legacy,
            Self::Modern | Self::ModernAlone => era == Era::Modern,
        }
    }
}

/// The era that the first request fixes. A method that only the modern era has, without its
/// envelope, is refused and fixes nothing: the client may still fall back to `initialize`.
pub(super) fn first_phase(call: &Call<'_>) -> Result<Phase, Fault> {
    if is_enveloped(call) {
        return Ok(Phase::Modern);
    }
    match &*call.method {
        "server/discover"
        | "subscriptions/listen"
        | "tasks/get"
        | "tasks/update"
        | "tasks/cancel" => mcp::check_envelope(&Params::parse(call.params.as_deref())?.meta)
            .map(|()| Phase::Modern),
        _ => Ok(Phase::Legacy),
    }
}

/// True if the parameters of a request carry any key of the modern envelope.
pub(super) fn is_enveloped(call: &Call<'_>) -> bool {
    // A look at the text spares most requests the parse.
    call.params
        .as_deref()
        .filter(|params| params.contains("_meta") || params.contains('\\'))
        .and_then(|params| Params::parse(Some(params)).ok())
        .is_some_and(|params| mcp::is_enveloped(&params.meta))
}
