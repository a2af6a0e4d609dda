//! A stream of a legacy session: numbered events, kept for a while, so that a client whose
//! connection broke reads on where it stopped (MCP 2025-11-25, resumability).

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::events;
use crate::config::limits::{HTTP_EVENTS_WAITING_MAX, QUEUED_BYTES_MAX};

/// What a client reads from.
pub(super) type Reader = mpsc::Receiver<Bytes>;

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    number: u64,
    latest: u64,
    kept: VecDeque<(u64, Bytes)>,
    kept_bytes: usize,
    /// The latest event that a reader was given.
    given: u64,
    reader: Option<mpsc::Sender<Bytes>>,
    /// Nothing more comes.
    ended: bool,
}

impl Stream {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            latest: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            given: 0,
            reader: None,
            ended: false,
        }
    }

    /// The stream and the event that an event id names.
    pub(super) fn parse_id(id: &str) -> Option<(u64, u64)> {
        let (stream, event) = id.split_once('-')?;
        Some((stream.parse().ok()?, event.parse().ok()?))
    }

    /// True while somebody reads.
    pub(super) fn is_read(&self) -> bool {
        self.reader
            .as_ref()
            .is_some_and(|reader| !reader.is_closed())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Sends a message as the next event, or keeps it until somebody reads on.
    pub(super) fn send(&mut self, message: &[u8]) {
        self.latest += 1;
        let id = format!("{}-{}", self.number, self.latest);
        let mut event = Vec::with_capacity(message.len() + 64);
        events::write(&mut event, Some(&id), message);
        let event = Bytes::from(event);
        self.kept_bytes += event.len();
        self.kept.push_back((self.latest, event.clone()));
        while self.kept_bytes > QUEUED_BYTES_MAX && self.kept.len() > 1 {
            let dropped = self.kept.pop_front();
            self.kept_bytes -= dropped.map_or(0, |(_, event)| event.len());
        }
        self.pass(event);
        if self.is_read() {
            self.given = self.latest;
        }
    }

    /// Sends bytes that are no event: they have no number and are not kept.
    pub(super) fn pass(&mut self, bytes: Bytes) {
        let full = self
            .reader
            .as_ref()
            .is_some_and(|reader| reader.try_send(bytes).is_err());
        if full {
            // It reads too slowly or is gone; it may come back and read on.
            self.reader = None;
        }
    }

    /// An event without a message, which gives the client an id to read on from.
    pub(super) fn prime(&mut self, retry_ms: u64) {
        let id = format!("{}-{}", self.number, self.latest);
        let event = format!("id: {id}\nretry: {retry_ms}\ndata: \n\n");
        self.pass(event.into());
    }

    /// Ends the response that is read from; the stream itself goes on.
    pub(super) fn interrupt(&mut self) {
        self.reader = None;
    }

    /// Ends the stream.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.reader = None;
    }

    /// Reads on after an event: first what was kept, then what comes. Without one it begins with
    /// what nobody was given yet.
    pub(super) fn read(&mut self, after: Option<u64>) -> Reader {
        let after = after.unwrap_or(self.given);
        self.given = self.latest;
        let missed = self.kept.iter().filter(|(number, _)| *number > after);
        let missed: Vec<Bytes> = missed.map(|(_, event)| event.clone()).collect();
        let (sender, reader) = mpsc::channel(HTTP_EVENTS_WAITING_MAX + missed.len());
        for event in missed {
            // The channel has room for all of them.
            let _ = sender.try_send(event);
        }
        if !self.ended {
            self.reader = Some(sender);
        }
        reader
    }
}

#[cfg(test)]
mod tests {
    use super::Stream;

    fn read(reader: &mut super::Reader) -> Vec<String> {
        let mut events = Vec::new();
        while let Ok(event) = reader.try_recv() {
            events.push(String::from_utf8(event.to_vec()).unwrap());
        }
        events
    }

    #[test]
    fn a_reader_that_comes_back_misses_nothing() {
        let mut stream = Stream::new(3);
        let mut reader = stream.read(None);
        stream.prime(500);
        stream.send(b"{\"a\":1}");
        let seen = read(&mut reader);
        assert_eq!(seen.len(), 2);
        assert!(seen[0].starts_with("id: 3-0\nretry: 500\n"), "{seen:?}");
        assert!(seen[1].contains("id: 3-1\n"), "{seen:?}");
        drop(reader);
        assert!(!stream.is_read());
        stream.send(b"{\"a\":2}");
        stream.send(b"{\"a\":3}");
        let mut reader = stream.read(Some(1));
        let seen = read(&mut reader);
        assert_eq!(seen.len(), 2);
        assert!(seen[0].contains("\"a\":2") && seen[1].contains("\"a\":3"));
        drop(reader);
        assert!(read(&mut stream.read(None)).is_empty(), "nothing twice");
        stream.send(b"{\"a\":4}");
        let mut reader = stream.read(None);
        assert!(
            read(&mut reader)[0].contains("\"a\":4"),
            "nobody was given it"
        );
        stream.end();
        assert!(stream.has_ended());
        assert!(reader.try_recv().is_err());
        assert_eq!(
            read(&mut stream.read(Some(2))).len(),
            2,
            "what was kept stays"
        );
    }

    #[test]
    fn ids_name_stream_and_event() {
        assert_eq!(Stream::parse_id("12-7"), Some((12, 7)));
        for id in ["", "12", "a-1", "1-", "-1"] {
            assert_eq!(Stream::parse_id(id), None, "{id}");
        }
    }
}
