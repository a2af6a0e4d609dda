//! Taking up an earlier session.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::arguments;
use super::operation::{Operation, Pending, Touches};
use super::services::Context;
use super::subscribe::topics;
use crate::delivery::courier::{Attendance, Back, Claim};
use crate::rpc::{Condition, Fault};
use crate::telemetry::ResumeOutcome;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("session/resume", resume)
            .describe(
                "Take up an earlier session after a lost connection: what it has missed is delivered \
                 again. recovered is false if something was missed for good, and says what.",
            )
            .touches(Touches::Session)
            .writes(true)
            .changes_session(),
    ]
}

arguments! {
    /// Of session/resume.
    Resume {
        /// The session to take up
        session_id: Uuid,
        /// The epoch that you know
        epoch: Option<u64>,
        /// The latest place that you have received in it (0)
        last_seq: Option<u64>,
        /// The resume_token of its welcome
        token: String,
    }
}

/// Of session/resume.
#[derive(Debug, Serialize, JsonSchema)]
struct Resumed {
    /// Nothing was missed for good: what you have not received comes again.
    recovered: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What was missed for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<Lost>,
    /// The session of this connection from now on.
    session_id: Uuid,
    /// Its epoch.
    epoch: u64,
    /// The latest place given away in it.
    latest_seq: u64,
    /// To take it up again.
    resume_token: String,
    /// Its topics.
    topics: Vec<String>,
}

/// What a session has missed for good.
#[derive(Debug, Serialize, JsonSchema)]
struct Lost {
    /// Messages that were in memory only and found no room.
    dropped: u64,
    /// Messages whose time to live ended before.
    expired: u64,
    /// Messages given up after five deliveries.
    dead: u64,
    /// Messages in memory only that a server took with it; nobody knows how many.
    volatile: bool,
}

fn resume(context: &Context<'_>, arguments: Resume) -> Result<Pending<Resumed>, Fault> {
    let services = Rc::clone(context.services);
    let session = Rc::clone(context.session);
    let (attendance, claim) = admitted(context, &arguments)
        .inspect_err(|_| services.courier.count_resume(ResumeOutcome::Refused))?;
    Ok(Box::pin(async move {
        let back = attendance.resume(claim).await;
        let back = back.inspect_err(|_| services.courier.count_resume(ResumeOutcome::Failed))?;
        session.id.set(attendance.session());
        let (outcome, lost, latest_seq) = judged(&back);
        services.courier.count_resume(outcome);
        let recovered = outcome == ResumeOutcome::Recovered;
        Ok(Resumed {
            recovered,
            reason: (!recovered).then_some(outcome.as_str()),
            lost,
            session_id: attendance.session(),
            epoch: attendance.epoch(),
            latest_seq,
            resume_token: attendance.token(&services.tokens),
            topics: topics(&attendance),
        })
    }))
}

/// The caller's connection and the session that it may ask for.
fn admitted(context: &Context<'_>, arguments: &Resume) -> Result<(Rc<Attendance>, Claim), Fault> {
    let services = context.services;
    let agent = context.session.agent();
    let token = services.tokens.open(&arguments.token, &agent);
    let (named, node) = token.ok_or_else(|| {
        let message = "the token is not one of this agent's sessions";
        Fault::new(Condition::Unauthorized, message)
    })?;
    if named != arguments.session_id {
        let message = "the token is of another session";
        return Err(Fault::new(Condition::Unauthorized, message));
    }
    let attendance = context.session.attend(&services.courier).ok_or_else(|| {
        let message = "this wire takes no deliveries; read them with agent/inbox";
        Fault::new(Condition::Conflict, message)
    })?;
    let claim = Claim {
        session: named,
        node,
        position: (
            arguments.epoch.unwrap_or(0),
            arguments.last_seq.unwrap_or(0),
        ),
    };
    Ok((attendance, claim))
}

/// What is told of a session that was looked for.
fn judged(back: &Back) -> (ResumeOutcome, Option<Lost>, u64) {
    match back {
        Back::Unknown => (ResumeOutcome::UnknownSession, None, 0),
        Back::Resumed {
            latest,
            missed,
            volatile,
            ended_here,
            ..
        } => {
            let lost = Lost {
                dropped: missed.dropped,
                expired: missed.expired,
                dead: missed.dead,
                volatile: *volatile,
            };
            let outcome = match (*volatile, missed.is_nothing()) {
                (true, _) if *ended_here => ResumeOutcome::SessionEnded,
                (true, _) => ResumeOutcome::ServerRestarted,
                (false, false) => ResumeOutcome::MessagesLost,
                (false, true) => ResumeOutcome::Recovered,
            };
            let lost = (outcome != ResumeOutcome::Recovered).then_some(lost);
            (outcome, lost, *latest)
        }
    }
}
