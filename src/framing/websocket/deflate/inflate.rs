//! Inflating a client's messages, bounded while it happens.

use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};

use crate::framing::websocket::Violation;
use crate::framing::websocket::body::Body;

/// What the sender cut off its last empty stored block (RFC 7692, 7.2.1), and an empty final block behind it:
/// the stream ends there exactly if the message ended between two blocks.
const TAIL: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];
/// A sender may end the stream inside a message (RFC 7692, 7.2.3.4), for which there is little reason; each new
/// one costs a reset, and two bytes are enough to ask for it.
const STREAMS_MAX: u8 = 64;

/// An inflater between two messages or in the midst of one.
#[derive(Debug)]
pub(in crate::framing::websocket) struct Inflater {
    inner: Decompress,
    /// No byte was taken since the stream began or ended.
    fresh: bool,
    streams: u8,
}

impl Inflater {
    /// One that inflates what any window compressed.
    pub(in crate::framing::websocket) fn new() -> Self {
        Self {
            inner: Decompress::new(false),
            fresh: true,
            streams: 0,
        }
    }

    /// Forgets the message before.
    pub(in crate::framing::websocket) fn reset(&mut self) {
        self.inner.reset(false);
        self.fresh = true;
        self.streams = 0;
    }

    /// Inflates `compressed` into `body` by way of `scratch`, stopping one byte past the bound.
    pub(in crate::framing::websocket) fn feed(
        &mut self,
        mut compressed: &[u8],
        scratch: &mut [u8],
        body: &mut Body,
        bytes_max: usize,
    ) -> Result<(), Violation> {
        loop {
            if self.fresh {
                if compressed.is_empty() {
                    return Ok(());
                }
                self.begin_stream()?;
            }
            // One byte more than fits tells a message that is too big from one that just ends.
            let space = scratch.len().min(body.room(bytes_max).saturating_add(1));
            let (in_before, out_before) = (self.inner.total_in(), self.inner.total_out());
            let status =
                self.inner
                    .decompress(compressed, &mut scratch[..space], FlushDecompress::None);
            let taken = (self.inner.total_in() - in_before) as usize;
            let made = (self.inner.total_out() - out_before) as usize;
            body.push_bounded(&scratch[..made], bytes_max)?;
            compressed = &compressed[taken..];
            match status {
                Err(_) => return Err(Violation::CorruptDeflate),
                Ok(Status::StreamEnd) => self.fresh = true,
                // Room was left, so everything that could be made of the input was made.
                Ok(_) if made < space && compressed.is_empty() => return Ok(()),
                Ok(_) if made == 0 && taken == 0 => return Err(Violation::CorruptDeflate),
                Ok(_) => {}
            }
        }
    }

    /// Ends the message: restores what the sender cut off and requires that it completes the stream.
    pub(in crate::framing::websocket) fn finish(
        &mut self,
        scratch: &mut [u8],
        body: &mut Body,
        bytes_max: usize,
    ) -> Result<(), Violation> {
        // A sender that ended its stream need not have added the empty block that the cut presumes, and one
        // with nothing to say may have sent nothing.
        if self.fresh {
            return Ok(());
        }
        self.feed(&TAIL, scratch, body, bytes_max)?;
        if self.fresh {
            Ok(())
        } else {
            Err(Violation::CorruptDeflate)
        }
    }

    fn begin_stream(&mut self) -> Result<(), Violation> {
        if self.streams == STREAMS_MAX {
            return Err(Violation::CorruptDeflate);
        }
        if self.streams > 0 {
            self.inner.reset(false);
        }
        self.streams += 1;
        self.fresh = false;
        Ok(())
    }
}

/// An inflater in the hands of an incomplete message. The token counts it for as long as it lives.
#[derive(Debug)]
pub(in crate::framing::websocket) struct LentInflater {
    inflater: Inflater,
    _token: Arc<()>,
}

impl LentInflater {
    pub(in crate::framing::websocket) fn new(inflater: Inflater, token: Arc<()>) -> Self {
        Self {
            inflater,
            _token: token,
        }
    }

    pub(in crate::framing::websocket) fn inflater(&mut self) -> &mut Inflater {
        &mut self.inflater
    }

    pub(in crate::framing::websocket) fn into_inflater(self) -> Inflater {
        self.inflater
    }
}
