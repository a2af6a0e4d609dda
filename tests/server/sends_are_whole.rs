//! What the kernel takes only in part is sent on, in order and whole.

use crate::harness::{connect_over, launch, on_both, within};
use tokio::net::TcpSocket;

#[test]
fn megabytes_through_a_small_window() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--echo-path", "/echo"]).start();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = within(socket.connect(server.api)).await.unwrap();
        let mut client = connect_over(stream, server.api, "/echo", &[]).await;
        for seed in 0..3_u32 {
            let bytes: Vec<u8> = (0..4_000_000_u32)
                .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed as u8)
                .collect();
            client.send_bytes(&bytes).await;
            let echoed = client.next().await.unwrap();
            assert!(echoed == bytes, "4 MB come back as they went");
        }
    });
}
