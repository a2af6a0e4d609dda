//! Framing without I/O: bytes in, events out. No socket, no clock, no JSON.

pub mod websocket;
