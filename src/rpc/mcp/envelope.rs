//! What `_meta` of a request carries.

use std::borrow::Cow;

use serde::Deserialize;

use super::{LogLevel, META_CAPABILITIES, META_IDEMPOTENCY, META_VERSION, MODERN, unsupported};
use crate::rpc::json::{self, Member};
use crate::rpc::{Condition, Fault};

#[derive(Debug, Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Member<'a>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Member<'a>,
}

/// True if `_meta` carries any key of the modern envelope.
pub fn is_enveloped(meta: &Member<'_>) -> bool {
    // A look at the text spares most requests the parse; an escape could hide a key from it.
    meta.raw()
        .filter(|raw| raw.contains("io.modelcontextprotocol/") || raw.contains('\\'))
        .is_some_and(|raw| {
            sonic_rs::from_str::<Meta<'_>>(raw)
                .is_ok_and(|meta| meta.version.raw().is_some() || meta.capabilities.raw().is_some())
        })
}

/// Checks what every modern request must carry: both keys first, then the version.
pub fn check_envelope(meta: &Member<'_>) -> Result<(), Fault> {
    let missing = |name: &str| {
        Fault::new(
            Condition::InvalidArguments,
            format!("params._meta lacks {name}"),
        )
    };
    let Some(raw) = meta.raw() else {
        return Err(missing(META_VERSION));
    };
    let parsed: Meta<'_> = sonic_rs::from_str(raw).map_err(|error| {
        Fault::new(
            Condition::InvalidArguments,
            format!("params._meta: {}", json::reason(&error)),
        )
    })?;
    if parsed.version.raw().is_none() {
        return Err(missing(META_VERSION));
    }
    if !parsed.capabilities.is_object() {
        return Err(missing(META_CAPABILITIES));
    }
    let Some(version) = parsed.version.string() else {
        return Err(Fault::new(
            Condition::InvalidArguments,
            format!("params._meta: {META_VERSION} must be a string"),
        ));
    };
    if version == MODERN {
        Ok(())
    } else {
        Err(unsupported(&version))
    }
}

/// The idempotency key of a request; a null is none.
pub fn idempotency_key<'m>(meta: &'m Member<'_>) -> Result<Option<Cow<'m, str>>, Fault> {
    // A look at the text spares most requests the parse; an escape could hide the key from it.
    let raw = meta.raw().filter(|raw| raw.starts_with('{'));
    let Some(raw) = raw.filter(|raw| raw.contains(META_IDEMPOTENCY) || raw.contains('\\')) else {
        return Ok(None);
    };
    let keys: Keys<'_> = sonic_rs::from_str(raw).map_err(|error| {
        let message = format!("params._meta: {}", json::reason(&error));
        Fault::new(Condition::InvalidArguments, message)
    })?;
    let Some(key) = keys.idempotency.into_raw().filter(|raw| raw != "null") else {
        return Ok(None);
    };
    let message = format!("params._meta: {META_IDEMPOTENCY} must be a string");
    let invalid = || Fault::new(Condition::InvalidArguments, message);
    json::string(key).ok_or_else(invalid).map(Some)
}

#[derive(Debug, Default, Deserialize)]
struct Keys<'a> {
    #[serde(borrow, default, rename = "tmws/idempotencyKey")]
    idempotency: Member<'a>,
}

/// What a request may carry besides its version, each as JSON text.
#[derive(Debug, Default, Deserialize)]
pub struct Extras<'a> {
    /// Names the request in `notifications/progress`; a string or a number.
    #[serde(borrow, default, rename = "progressToken")]
    pub progress_token: Member<'a>,
    /// The lowest level of the log lines that the client wants for this request (modern).
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel")]
    log_level: Member<'a>,
    /// What the client can do (modern).
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub capabilities: Member<'a>,
}

impl<'a> Extras<'a> {
    /// Reads them; a `_meta` that is absent or no object holds none.
    pub fn parse(meta: &'a Member<'_>) -> Result<Self, Fault> {
        let Some(raw) = meta.raw().filter(|raw| raw.starts_with('{')) else {
            return Ok(Self::default());
        };
        let extras: Self = sonic_rs::from_str(raw).map_err(|error| {
            Fault::new(
                Condition::InvalidArguments,
                format!("params._meta: {}", json::reason(&error)),
            )
        })?;
        if extras.progress_token.is_present()
            && !extras
                .progress_token
                .raw()
                .is_some_and(crate::rpc::jsonrpc::is_echoable)
        {
            let message = "params._meta.progressToken must be a string or a number";
            return Err(Fault::new(Condition::InvalidArguments, message));
        }
        Ok(extras)
    }

    /// The level that the request asks for.
    pub fn log_level(&self) -> Result<Option<LogLevel>, Fault> {
        if !self.log_level.is_present() {
            return Ok(None);
        }
        let level = self.log_level.string();
        level
            .and_then(|level| LogLevel::parse(&level))
            .map(Some)
            .ok_or_else(|| LogLevel::unknown("params._meta"))
    }
}

#[cfg(test)]
mod tests {
    use super::{check_envelope, is_enveloped};
    use crate::rpc::Condition;
    use crate::rpc::mcp::Params;

    fn envelope(meta: &str) -> Result<(), Condition> {
        let text = format!(r#"{{"_meta":{meta}}}"#);
        let params = Params::parse(Some(&text)).unwrap();
        check_envelope(&params.meta).map_err(|fault| fault.condition)
    }

    #[test]
    fn the_envelope_is_checked_in_the_order_of_the_ladder() {
        let version = r#""io.modelcontextprotocol/protocolVersion""#;
        let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
        assert_eq!(
            envelope(&format!(r#"{{{version}:"2026-07-28",{capabilities}}}"#)),
            Ok(())
        );
        assert_eq!(envelope("{}"), Err(Condition::InvalidArguments));
        assert_eq!(
            envelope(&format!(r#"{{{version}:"1900-01-01"}}"#)),
            Err(Condition::InvalidArguments)
        );
        assert_eq!(
            envelope(&format!(r#"{{{version}:"1900-01-01",{capabilities}}}"#)),
            Err(Condition::InvalidProtocolVersion)
        );
        assert_eq!(
            envelope(&format!(r#"{{{version}:7,{capabilities}}}"#)),
            Err(Condition::InvalidArguments)
        );
        let progress = Params::parse(Some(r#"{"_meta":{"progressToken":1}}"#)).unwrap();
        assert!(!is_enveloped(&progress.meta));
        let escaped = r#"{"_meta":{"\u0069o.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        assert!(is_enveloped(&Params::parse(Some(escaped)).unwrap().meta));
    }
}
