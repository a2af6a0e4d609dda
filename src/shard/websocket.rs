//! Bytes of an open WebSocket: to messages, to answers, to frames.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::connection::{Closing, Codec, Connection, Phase};
use super::outbox::{Finished, Outbox};
use super::timers::Tick;
use crate::config::limits::INLINE_DEFLATE_BYTES_MAX;
use crate::delivery::Delivery;
use crate::delivery::courier::closing;
use crate::dispatch::{Dispatcher, Reply};
use crate::framing::websocket::deflate::{self, Params};
use crate::framing::websocket::{CloseCode, Event, OpCode, Pool, Violation, close, frame};
use crate::net::Token;
use crate::telemetry::ShardMetrics;

/// What the connections of a shard share while one of them is served.
pub(super) struct Desk<'a> {
    pub(super) dispatcher: &'a Rc<Dispatcher>,
    pub(super) outbox: &'a Rc<Outbox>,
    pub(super) pool: &'a mut Pool,
    pub(super) metrics: &'a ShardMetrics,
    pub(super) now: Tick,
}

/// Reason of the close after a panic; what happened is in the log.
const INTERNAL: &str = "INTERNAL_ERROR";

/// What an event asks of the connection, once its borrow has ended.
enum Step {
    Next,
    /// Close with this code and reason.
    Close(u16, String),
    /// Answer the peer's close frame.
    EchoClose(u16),
}

impl Connection {
    /// Handles what was received. Returns how many bytes were used: all, unless the connection
    /// has become full, and then the rest is for later.
    pub(super) fn receive(&mut self, token: Token, input: &mut [u8], desk: &mut Desk<'_>) -> usize {
        self.clock.awaiting_pong = false;
        let mut consumed = 0;
        while !self.is_full() {
            let step = match &mut self.phase {
                Phase::Head { .. } | Phase::Vacant => return consumed,
                Phase::Closing(closing) => {
                    closing.skip(&mut input[consumed..], desk.pool);
                    return input.len();
                }
                Phase::Open(open) => match open.decoder.decode(input, &mut consumed, desk.pool) {
                    Ok(None) => return input.len(),
                    Err(violation) => violated(&violation, desk),
                    Ok(Some(event)) => {
                        let target = Target {
                            token,
                            out: &mut self.out,
                            in_flight: &mut self.in_flight,
                            alone: &mut self.alone,
                            deflate: open.deflate,
                        };
                        if matches!(event, Event::Text(_) | Event::Binary(_)) {
                            self.clock.message = desk.now;
                        }
                        handle(event, &mut open.codec, target, desk)
                    }
                },
            };
            match step {
                Step::Next => {}
                Step::Close(code, reason) => self.close(code, &reason, desk.now),
                Step::EchoClose(code) => {
                    self.close(code, "", desk.now);
                    if let Phase::Closing(closing) = &mut self.phase {
                        closing.decoder = None;
                    }
                    return input.len();
                }
            }
        }
        consumed
    }

    /// Queues a close frame; nothing else is sent after it.
    pub(super) fn close(&mut self, code: u16, reason: &str, now: Tick) {
        take_mut(&mut self.phase, |phase| match phase {
            Phase::Open(open) => {
                close::write(&mut self.out, code, reason);
                let violated = open.decoder.is_closed();
                Phase::Closing(Closing {
                    decoder: (!violated).then_some(open.decoder),
                    shut: false,
                    _place: open.place,
                })
            }
            other => other,
        });
        self.clock.closing = now;
    }

    /// Queues an answer that a task has finished.
    pub(super) fn finish(&mut self, finished: Finished, was_alone: bool, desk: &mut Desk<'_>) {
        self.in_flight -= 1;
        self.alone &= !was_alone;
        let Phase::Open(open) = &self.phase else {
            return;
        };
        let queued = self.out.len();
        match finished {
            Finished::Message(message) if message.is_empty() => return,
            Finished::Message(message) => {
                deflate::write(
                    &mut self.out,
                    OpCode::Text,
                    &message,
                    open.deflate,
                    desk.pool,
                );
            }
            Finished::Frame(frame) => self.out.extend_from_slice(&frame),
            Finished::Failed => return self.close(CloseCode::Error.into(), INTERNAL, desk.now),
        }
        self.answer_bytes = (self.out.len() - queued) as u32;
        self.clock.message = desk.now;
        sent(&open.codec, desk);
    }

    /// Queues a message that answers nothing.
    pub(super) fn push(&mut self, message: &[u8], desk: &mut Desk<'_>) {
        if let Phase::Open(open) = &self.phase {
            let out = &mut self.out;
            deflate::write(out, OpCode::Text, message, open.deflate, desk.pool);
            self.clock.message = desk.now;
            sent(&open.codec, desk);
        }
    }

    /// Queues a delivery.
    pub(super) fn deliver(&mut self, delivery: &Delivery, desk: &mut Desk<'_>) {
        if let Phase::Open(open) = &self.phase {
            let mark = frame::begin(&mut self.out, OpCode::Text);
            delivery.write_to(&mut self.out);
            deflate::finish(mark, &mut self.out, open.deflate, desk.pool);
            self.clock.message = desk.now;
            sent(&open.codec, desk);
        }
    }

    /// Queues the last messages of its subscriptions.
    pub(super) fn end_subscriptions(&mut self, desk: &mut Desk<'_>) {
        if let Phase::Open(open) = &self.phase
            && let Codec::Mcp(mcp) = &open.codec
        {
            let ends = mcp.end_subscriptions();
            for last in ends {
                self.push(&last, desk);
            }
        }
    }

    /// Tells a client that takes deliveries that the server is about to close the connection.
    pub(super) fn announce_close(
        &mut self,
        window: Duration,
        retry_after: Duration,
        desk: &mut Desk<'_>,
    ) {
        if let Phase::Open(open) = &self.phase
            && let Codec::Mcp(mcp) = &open.codec
            && mcp.session().attendance().is_some()
        {
            let [window_ms, retry_after_ms] =
                [window, retry_after].map(|time| time.as_millis() as u64);
            self.push(&closing(window_ms, retry_after_ms), desk);
        }
    }

    /// Queues a ping.
    pub(super) fn ping(&mut self, now: Tick) {
        frame::write(&mut self.out, OpCode::Ping, b"");
        self.clock.ping = now;
        self.clock.awaiting_pong = true;
    }
}

impl Closing {
    /// Reads on for the peer's close frame; whatever else comes is too late.
    fn skip(&mut self, mut input: &mut [u8], pool: &mut Pool) {
        while let Some(decoder) = &mut self.decoder {
            let mut consumed = 0;
            match decoder.decode(input, &mut consumed, pool) {
                Ok(None) => return,
                Ok(Some(Event::Close(_))) | Err(_) => self.decoder = None,
                Ok(Some(_)) => {}
            }
            input = &mut input[consumed..];
        }
    }
}

/// Where the answer to a message goes.
struct Target<'a> {
    token: Token,
    out: &'a mut Vec<u8>,
    in_flight: &'a mut u16,
    alone: &'a mut bool,
    deflate: Option<Params>,
}

fn handle(event: Event<'_>, codec: &mut Codec, target: Target<'_>, desk: &mut Desk<'_>) -> Step {
    match (event, codec) {
        (Event::Ping(payload), _) => {
            frame::write(target.out, OpCode::Pong, payload);
            Step::Next
        }
        (Event::Pong(_), _) => Step::Next,
        // An empty close frame is answered by an empty one: 1005 never travels.
        (Event::Close(close), _) => Step::EchoClose(close.map_or(1005, |close| close.code)),
        (Event::Text(text), Codec::Echo) => echo(OpCode::Text, text.as_bytes(), target, desk),
        (Event::Binary(bytes), Codec::Echo) => echo(OpCode::Binary, bytes, target, desk),
        (Event::Text(text), codec @ Codec::Mcp(_)) => message(text, codec, target, desk),
        (Event::Binary(_), Codec::Mcp(_)) => {
            desk.metrics.protocol_violations.add(1);
            Step::Close(
                CloseCode::Unsupported.into(),
                "MCP messages are text".to_owned(),
            )
        }
    }
}

fn echo(opcode: OpCode, payload: &[u8], target: Target<'_>, desk: &mut Desk<'_>) -> Step {
    desk.metrics.messages_received.add(1);
    deflate::write(target.out, opcode, payload, target.deflate, desk.pool);
    desk.metrics.messages_sent.add(1);
    Step::Next
}

fn message(text: &str, codec: &mut Codec, target: Target<'_>, desk: &mut Desk<'_>) -> Step {
    let Codec::Mcp(mcp) = codec else {
        return Step::Next;
    };
    desk.metrics.messages_received.add(1);
    let mark = frame::begin(target.out, OpCode::Text);
    // A broken invariant costs this connection, not the shard.
    let receive = AssertUnwindSafe(|| mcp.receive(desk.dispatcher, text, target.out));
    let Ok(reply) = catch_unwind(receive) else {
        mark.abandon(target.out);
        return Step::Close(CloseCode::Error.into(), INTERNAL.to_owned());
    };
    match reply {
        Reply::Written => {
            let bytes = target.out.len() - mark.payload_start();
            if target.deflate.is_some() && bytes > INLINE_DEFLATE_BYTES_MAX {
                // Too much for this thread: it goes the way of answers that come later.
                let payload = target.out[mark.payload_start()..].to_vec();
                mark.abandon(target.out);
                *target.in_flight += 1;
                desk.outbox.spawn(
                    target.token,
                    Box::pin(async { payload }),
                    target.deflate,
                    false,
                );
            } else {
                deflate::finish(mark, target.out, target.deflate, desk.pool);
                sent(codec, desk);
            }
        }
        Reply::Silent | Reply::Stream => mark.abandon(target.out),
        Reply::Later(answer) => {
            mark.abandon(target.out);
            *target.in_flight += 1;
            desk.outbox
                .spawn(target.token, answer, target.deflate, false);
        }
        Reply::Alone(answer) => {
            mark.abandon(target.out);
            *target.in_flight += 1;
            *target.alone = true;
            desk.outbox
                .spawn(target.token, answer, target.deflate, true);
        }
    }
    Step::Next
}

fn sent(codec: &Codec, desk: &Desk<'_>) {
    desk.metrics.messages_sent.add(1);
    if let Codec::Mcp(mcp) = codec {
        let sent = &mcp.session().messages_sent;
        sent.set(sent.get() + 1);
    }
}

fn violated(violation: &Violation, desk: &Desk<'_>) -> Step {
    desk.metrics.protocol_violations.add(1);
    let code = violation.close_code().into();
    let reason = match violation {
        Violation::MessageTooBig { .. } => format!("MESSAGE_TOO_LARGE: {violation}"),
        _ => violation.to_string(),
    };
    Step::Close(code, reason)
}

/// Replaces a phase by one made from it. The phase in between is never seen: `make` cannot panic.
fn take_mut(phase: &mut Phase, make: impl FnOnce(Phase) -> Phase) {
    let taken = std::mem::replace(phase, Phase::Vacant);
    *phase = make(taken);
}
