//! What a shard knows of one connection.

use super::admission::{Admission, Listener, Route};
use super::gate::{Place, WebSocketPlace};
use super::timers::Tick;
use crate::config::limits::{
    ECHO_MESSAGE_BYTES_MAX, QUEUED_BYTES_LOW, QUEUED_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX,
};
use crate::dispatch::McpConnection;
use crate::framing::websocket::Decoder;
use crate::framing::websocket::deflate::Params;

/// One connection, from its acceptance to its close.
pub(super) struct Connection {
    pub(super) phase: Phase,
    pub(super) listener: Listener,
    /// Frames that wait for the next send.
    pub(super) out: Vec<u8>,
    /// Bytes received while the connection was not read further.
    pub(super) stash: Vec<u8>,
    /// Bytes of the send in flight; 0 if there is none.
    pub(super) sending_bytes: u32,
    /// Answers that wait for the store.
    pub(super) in_flight: u16,
    /// Bytes of the latest answer that came later: what those under way may take.
    pub(super) answer_bytes: u32,
    /// A call under way changes who acts: nothing else begins before its answer.
    pub(super) alone: bool,
    /// In the list of connections that have something to send.
    pub(super) dirty: bool,
    /// Reception is stopped until the peer reads or the store answers.
    pub(super) paused: bool,
    /// The peer will send nothing more.
    pub(super) ended: bool,
    pub(super) clock: Clock,
}

/// The points in time that a connection's deadlines come from, as ticks of the shard.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// When it was accepted.
    pub(super) accepted: Tick,
    /// The latest message in either direction.
    pub(super) message: Tick,
    /// The latest ping, or the upgrade.
    pub(super) ping: Tick,
    /// Whether that ping is unanswered.
    pub(super) awaiting_pong: bool,
    /// When the send in flight began.
    pub(super) send: Tick,
    /// When the close frame was queued.
    pub(super) closing: Tick,
    /// When a drain closes it; 0 if there is none.
    pub(super) drain: Tick,
    /// Where it stands on the wheel.
    pub(super) entry: Tick,
}

/// What a connection is at present.
pub(super) enum Phase {
    /// A request head is being read.
    Head {
        /// What has come of it, if not all.
        read: Vec<u8>,
        place: Place,
    },
    /// A WebSocket.
    Open(Open),
    /// A close frame was queued.
    Closing(Closing),
    /// Between two phases; never seen outside of the change.
    Vacant,
}

/// An open WebSocket.
pub(super) struct Open {
    pub(super) decoder: Decoder,
    pub(super) deflate: Option<Params>,
    pub(super) codec: Codec,
    pub(super) place: WebSocketPlace,
}

/// What the messages of a WebSocket are.
pub(super) enum Codec {
    Mcp(McpConnection),
    Echo,
}

/// A WebSocket after its close frame.
pub(super) struct Closing {
    /// Reads on for the peer's close frame; gone once it has come or cannot be understood.
    pub(super) decoder: Option<Decoder>,
    /// The sending side was shut down.
    pub(super) shut: bool,
    pub(super) _place: WebSocketPlace,
}

impl Connection {
    pub(super) fn new(listener: Listener, place: Place, now: Tick) -> Self {
        Self {
            phase: Phase::Head {
                read: Vec::new(),
                place,
            },
            listener,
            out: Vec::new(),
            stash: Vec::new(),
            sending_bytes: 0,
            in_flight: 0,
            answer_bytes: 0,
            alone: false,
            dirty: false,
            paused: false,
            ended: false,
            clock: Clock {
                accepted: now,
                ..Clock::default()
            },
        }
    }

    /// Bytes that wait for the peer to read.
    pub(super) fn queued_bytes(&self) -> usize {
        self.out.len() + self.sending_bytes as usize
    }

    /// Bytes that wait for the peer to read or will, if the answers under way are like the latest.
    fn expected_bytes(&self) -> usize {
        self.queued_bytes() + usize::from(self.in_flight) * self.answer_bytes as usize
    }

    /// True if the connection must not be read further now.
    pub(super) fn is_full(&self) -> bool {
        self.alone
            || self.expected_bytes() > QUEUED_BYTES_MAX
            || usize::from(self.in_flight) >= REQUESTS_IN_FLIGHT_MAX
    }

    /// True if a connection that was not read may be read again.
    pub(super) fn has_room(&self) -> bool {
        !self.alone
            && self.expected_bytes() <= QUEUED_BYTES_LOW
            && usize::from(self.in_flight) <= REQUESTS_IN_FLIGHT_MAX / 2
    }

    /// True for a WebSocket whose close frame was not queued yet.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }
}

impl Open {
    /// True if its client waits for changes or deliveries.
    pub(super) fn is_subscribed(&self) -> bool {
        matches!(&self.codec, Codec::Mcp(mcp) if mcp.is_subscribed() || mcp.session().attendance().is_some())
    }

    pub(super) fn new(
        admission: &Admission,
        codec: Codec,
        message_bytes_max: usize,
        place: WebSocketPlace,
    ) -> Self {
        let bytes_max = match admission.route {
            Route::Mcp => message_bytes_max,
            Route::Echo => ECHO_MESSAGE_BYTES_MAX,
        };
        Self {
            decoder: Decoder::new(bytes_max, admission.deflate.is_some()),
            deflate: admission.deflate,
            codec,
            place,
        }
    }
}

/// 10,000 idle connections get 2 KiB each; this struct is what every one of them takes.
const _: () = assert!(size_of::<Connection>() <= 256);
