//! The caller's session as it takes deliveries: acknowledgements.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arguments::arguments;
use super::operation::{Operation, Pending};
use super::services::Context;
use crate::delivery::courier::{Attendance, Said, SayError, Told};
use crate::delivery::queue::Acked;
use crate::domain::Violation;
use crate::rpc::{Condition, Fault};

/// Places in one call: four windows.
const PLACES_MAX: usize = 1_024;
/// Bytes of what a client says when it terminates a message.
const REASON_BYTES_MAX: usize = 1_000;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("session/ack", ack)
            .describe(
                "Settle deliveries: all up to a place (up_to), or single ones (acks with the delivery \
                 that is meant, or seqs). Answered when it is durable.",
            )
            .at_once()
            .writes(true)
            .keeps_result_of_session(),
        Operation::later("session/nack", nack)
            .describe("Ask for a delivery again, after delay_ms.")
            .at_once()
            .writes(true)
            .keeps_result_of_session(),
        Operation::later("session/extend", extend)
            .describe("Ask for another 30 seconds before a delivery is made again.")
            .at_once()
            .writes(true)
            .keeps_result_of_session(),
        Operation::later("session/term", term)
            .describe("Make a dead letter of a message: it is not delivered again.")
            .at_once()
            .writes(true)
            .keeps_result_of_session(),
    ]
}

/// One delivery.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneAck {
    /// Its place
    seq: u64,
    /// Which delivery of it
    delivery: u32,
}

arguments! {
    /// Of session/ack: one of the three.
    Ack {
        /// Everything up to this place
        up_to: Option<u64>,
        /// These, by place and delivery
        acks: Option<Vec<OneAck>>,
        /// These, whichever delivery it was
        seqs: Option<Vec<u64>>,
        /// The epoch of the places (the current one)
        epoch: Option<u64>,
    }
}

arguments! {
    /// Of session/nack.
    Nack {
        /// Its place
        seq: u64,
        /// Which delivery of it (the latest)
        delivery: Option<u32>,
        /// Pause before it comes again (0)
        delay_ms: Option<u64>,
        /// Why, for people
        reason: Option<String>,
        /// The epoch of the place (the current one)
        epoch: Option<u64>,
    }
}

arguments! {
    /// Of session/extend and session/term.
    OneDelivery {
        /// Its place
        seq: u64,
        /// Which delivery of it (the latest)
        delivery: Option<u32>,
        /// Why, for people
        reason: Option<String>,
        /// The epoch of the place (the current one)
        epoch: Option<u64>,
    }
}

/// What became of an answer to deliveries.
#[derive(Debug, Serialize, JsonSchema)]
struct Settled {
    /// Deliveries that it was for and that were open.
    accepted: u64,
    /// Places that were delivered again since, so that the answer came too late.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stale: Vec<u64>,
    /// Places that are not open: settled before, given up, or not of this epoch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<u64>,
}

impl From<Told> for Settled {
    fn from(told: Told) -> Self {
        Self {
            accepted: told.accepted,
            stale: told.stale,
            unknown: told.unknown,
        }
    }
}

impl From<SayError> for Fault {
    fn from(error: SayError) -> Self {
        match error {
            SayError::Store(error) => error.into(),
            SayError::Beyond(_) => Self::new(Condition::InvalidArguments, error.to_string()),
            SayError::NoSession => Self::new(Condition::Conflict, error.to_string()),
            SayError::Stopping => Self::new(Condition::Unavailable, error.to_string()),
        }
    }
}

/// The attendance of the caller, if it takes deliveries.
pub(super) fn attendance(context: &Context<'_>) -> Result<Rc<Attendance>, Fault> {
    let attendance = context.session.attendance();
    attendance.ok_or_else(|| SayError::NoSession.into())
}

/// Says something of deliveries of an epoch; those of another one are unknown.
fn say(
    context: &Context<'_>,
    epoch: Option<u64>,
    said: Said,
    places: Vec<u64>,
) -> Result<Pending<Settled>, Fault> {
    let attendance = attendance(context)?;
    if epoch.is_some_and(|epoch| epoch != attendance.epoch()) {
        let settled = Settled {
            accepted: 0,
            stale: Vec::new(),
            unknown: places,
        };
        return Ok(Box::pin(async move { Ok(settled) }));
    }
    let told = attendance.say(said);
    Ok(Box::pin(async move { Ok(told.await?.into()) }))
}

fn ack(context: &Context<'_>, arguments: Ack) -> Result<Pending<Settled>, Fault> {
    let acked = match (arguments.up_to, arguments.acks, arguments.seqs) {
        (Some(up_to), None, None) => Acked::UpTo(up_to),
        (None, Some(acks), None) => {
            let places = acks.iter().map(|ack| (ack.seq, Some(ack.delivery)));
            Acked::Places(places.collect())
        }
        (None, None, Some(seqs)) => {
            Acked::Places(seqs.into_iter().map(|seq| (seq, None)).collect())
        }
        _ => return Err(Violation::new("up_to", "give one of up_to, acks and seqs").into()),
    };
    let places: Vec<u64> = match &acked {
        Acked::UpTo(_) => Vec::new(),
        Acked::Places(places) => places.iter().map(|(seq, _)| *seq).collect(),
    };
    if places.len() > PLACES_MAX {
        let text = format!("may name at most {PLACES_MAX} places");
        return Err(Violation::new("acks", text).into());
    }
    say(context, arguments.epoch, Said::Ack(acked), places)
}

fn nack(context: &Context<'_>, arguments: Nack) -> Result<Pending<Settled>, Fault> {
    let Nack { seq, delivery, .. } = arguments;
    if let Some(reason) = arguments.reason.as_deref() {
        check_reason(reason)?;
        tracing::debug!(seq, reason, "a client wants a delivery again");
    }
    let said = Said::Nack {
        seq,
        delivery,
        delay_ms: arguments.delay_ms.unwrap_or(0),
    };
    say(context, arguments.epoch, said, vec![seq])
}

fn extend(context: &Context<'_>, arguments: OneDelivery) -> Result<Pending<Settled>, Fault> {
    let OneDelivery { seq, delivery, .. } = arguments;
    let said = Said::Extend { seq, delivery };
    say(context, arguments.epoch, said, vec![seq])
}

fn term(context: &Context<'_>, arguments: OneDelivery) -> Result<Pending<Settled>, Fault> {
    let OneDelivery { seq, delivery, .. } = arguments;
    let reason = arguments.reason.unwrap_or_default();
    check_reason(&reason)?;
    let said = Said::Term {
        seq,
        delivery,
        reason: (!reason.is_empty()).then(|| reason.into()),
    };
    say(context, arguments.epoch, said, vec![seq])
}

fn check_reason(reason: &str) -> Result<(), Violation> {
    if reason.len() > REASON_BYTES_MAX {
        let text = format!("must have at most {REASON_BYTES_MAX} bytes");
        return Err(Violation::new("reason", text));
    }
    Ok(())
}
