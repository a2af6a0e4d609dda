//! What a peer can do wrong after the handshake: one variant per rule, each with its close code and a sentence.

use fastwebsockets::CloseCode;

/// A broken rule of RFC 6455 or RFC 7692. Its text is short enough for the reason of a close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// RFC 6455, 5.2: a reserved bit is set that no negotiated extension defines for this frame.
    #[error("reserved bits {0:#05b} have no meaning in this frame")]
    ReservedBits(u8),
    /// RFC 6455, 5.2: opcodes 3 to 7 and 11 to 15.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// RFC 6455, 5.5.
    #[error("a control frame must not be fragmented")]
    FragmentedControl,
    /// RFC 6455, 5.5.
    #[error("a control frame must not carry more than 125 bytes")]
    ControlTooLong,
    /// RFC 6455, 5.1.
    #[error("a client must mask its frames")]
    Unmasked,
    /// RFC 6455, 5.2: "the minimal number of bytes MUST be used".
    #[error("the payload length {0} is not encoded in the fewest bytes")]
    LengthNotMinimal(u64),
    /// RFC 6455, 5.2: the most significant bit of a 64-bit length is 0.
    #[error("the payload length exceeds 63 bits")]
    LengthTopBit,
    /// RFC 6455, 5.4.
    #[error("a continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// RFC 6455, 5.4.
    #[error("a new message before the end of the fragmented one")]
    UnfinishedMessage,
    /// RFC 6455, 10.4: our own bound.
    #[error("a message may have at most {bytes_max} bytes")]
    MessageTooBig {
        /// The bound that the message exceeds.
        bytes_max: usize,
    },
    /// RFC 6455, 8.1.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// RFC 6455, 5.5.1: a close payload begins with two bytes of code.
    #[error("a close frame cannot carry one byte")]
    CloseTooShort,
    /// RFC 6455, 7.4: reserved, or not to be sent on the wire.
    #[error("close code {0} must not be sent")]
    CloseCode(u16),
    /// RFC 7692, 7.2.2: the payload does not inflate.
    #[error("the compressed message is corrupt")]
    CorruptDeflate,
}

impl Violation {
    /// The code that the closing handshake answers with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::MessageTooBig { .. } => CloseCode::Size,
            Self::InvalidUtf8 | Self::CorruptDeflate => CloseCode::Invalid,
            _ => CloseCode::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_fits_a_close_frame() {
        let all = [
            Violation::ReservedBits(7),
            Violation::ReservedOpcode(15),
            Violation::FragmentedControl,
            Violation::ControlTooLong,
            Violation::Unmasked,
            Violation::LengthNotMinimal(u64::MAX),
            Violation::LengthTopBit,
            Violation::UnexpectedContinuation,
            Violation::UnfinishedMessage,
            Violation::MessageTooBig {
                bytes_max: usize::MAX,
            },
            Violation::InvalidUtf8,
            Violation::CloseTooShort,
            Violation::CloseCode(u16::MAX),
            Violation::CorruptDeflate,
        ];
        for violation in all {
            assert!(
                violation.to_string().len() <= crate::framing::websocket::close::REASON_BYTES_MAX
            );
        }
    }
}
