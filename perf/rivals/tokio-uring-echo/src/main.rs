//! A bare echo of bytes with tokio-uring, as that crate's own example has it: no frames, no parsing.
//!
//! `rival-tokio-uring-echo ADDRESS`: every byte comes back.

use std::net::SocketAddr;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

/// As the example has it.
const BUFFER_BYTES: usize = 4096;

async fn echo(stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let (read, filled) = stream.read(buffer).await;
        let count = read?;
        if count == 0 {
            return Ok(());
        }
        let (written, sent) = stream.write_all(filled.slice(..count)).await;
        written?;
        buffer = sent.into_inner();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("the address is missing")?;
    let address: SocketAddr = address.parse()?;
    tokio_uring::start(async {
        let listener = TcpListener::bind(address)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio_uring::spawn(async move {
                // A peer that resets ends its echo and nothing else.
                let _ = echo(stream).await;
            });
        }
    })
}
