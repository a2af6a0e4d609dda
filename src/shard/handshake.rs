//! The head of a connection: to a WebSocket here, or handed over.

use std::mem;
use std::rc::Rc;

use super::Shard;
use super::admission::{Admission, DELIVERING, HandOver, Route, judge};
use super::connection::{Codec, Open, Phase};
use super::timers::Tick;
use crate::config::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::delivery::{Session, Transport};
use crate::dispatch::McpConnection;
use crate::framing::websocket::handshake::write_response;
use crate::net::{Backend, Lease, Receive, Token};
use crate::operations::Services;

/// What the bytes so far are.
enum Head {
    /// Not whole.
    Partial,
    /// A request for a WebSocket that may be; it ends at this byte.
    Upgrade(Box<Admission>, usize),
    /// Anything else, well-formed or not.
    Other,
}

impl<B: Backend> Shard<B> {
    /// Reads on in a request head.
    pub(super) fn read_head(&mut self, token: Token, lease: Lease, now: Tick) {
        let bytes = self.backend.bytes(&lease);
        let Some(connection) = self.connections.get_mut(token) else {
            self.backend.release(lease);
            return;
        };
        let listener = connection.listener;
        let Phase::Head { read, .. } = &mut connection.phase else {
            return;
        };
        let mut whole = mem::take(read);
        whole.extend_from_slice(bytes);
        self.backend.release(lease);
        let head = parse(&whole, |head, target| {
            judge(head, target, listener, &self.config, &self.origins)
                .ok()
                .flatten()
        });
        match head {
            Head::Partial => {
                if let Some(connection) = self.connections.get_mut(token)
                    && let Phase::Head { read, .. } = &mut connection.phase
                {
                    *read = whole;
                }
                self.backend.receive(token, Receive::Once);
            }
            Head::Upgrade(admission, end) => self.open(token, *admission, whole, end, now),
            Head::Other => self.hand_over(token, whole),
        }
    }

    fn open(
        &mut self,
        token: Token,
        admission: Admission,
        mut whole: Vec<u8>,
        end: usize,
        now: Tick,
    ) {
        let metrics = self.dispatcher.metrics();
        let Some(place) = self.gate.enter_websocket(self.config.connections_max) else {
            metrics.connections_refused.add(1);
            self.hand_over(token, whole);
            return;
        };
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        metrics.connections_opened.add(1);
        let codec = match admission.route {
            Route::Echo => Codec::Echo,
            Route::Mcp => {
                let registry = &self.dispatcher.services().registry;
                let session = Session::open(
                    registry,
                    Transport::WebSocket,
                    admission.agent.clone(),
                    admission.capabilities.clone(),
                );
                session.set_connection(token.key());
                if admission.subprotocol == Some(DELIVERING) {
                    welcome(self.dispatcher.services(), &session);
                }
                let outlet = self.outgoing.outlet(token.key());
                Codec::Mcp(McpConnection::new(
                    Rc::new(session),
                    admission.profile,
                    outlet,
                ))
            }
        };
        let open = Open::new(&admission, codec, self.config.message_bytes_max, place);
        connection.phase = Phase::Open(open);
        connection.clock.message = now;
        connection.clock.ping = now;
        if connection.out.capacity() == 0 {
            connection.out = Self::spare_buffer(&mut self.spare);
        }
        write_response(
            &mut connection.out,
            &admission.key,
            admission.subprotocol,
            admission.deflate.as_ref(),
        );
        // A client may speak before it has read the answer.
        whole.drain(..end);
        connection.stash = whole;
        connection.paused = true;
        self.resume(token, now);
        self.schedule(token);
        self.touch(token);
    }

    fn hand_over(&mut self, token: Token, read: Vec<u8>) {
        let Some(connection) = self.connections.take(token) else {
            return;
        };
        let peer = self.backend.peer(token);
        let Phase::Head { place, .. } = connection.phase else {
            return;
        };
        match self.backend.detach(token) {
            Some(fd) => self.handed.push(HandOver {
                fd,
                read,
                listener: connection.listener,
                peer,
                place,
            }),
            None => self.backend.close(token),
        }
    }
}

/// Has a session take deliveries, and tells its client how.
fn welcome(services: &Services, session: &Session) {
    if let Some(attendance) = session.attend(&services.courier) {
        services.courier.welcome(&attendance, &services.tokens);
    }
}

fn parse(
    bytes: &[u8],
    admit: impl FnOnce(&httparse::Request<'_, '_>, &str) -> Option<Admission>,
) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Head::Partial,
        Ok(httparse::Status::Complete(end)) if end <= HEAD_BYTES_MAX => {
            let target = request.path.unwrap_or_default();
            match admit(&request, target) {
                Some(admission) => Head::Upgrade(Box::new(admission), end),
                None => Head::Other,
            }
        }
        Ok(_) | Err(_) => Head::Other,
    }
}
