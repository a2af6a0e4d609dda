//! Whatever a client sends as its request head: it is judged without panic, and an accepted upgrade is answered
//! with a response that can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tmws::framing::websocket::{deflate, handshake};

fuzz_target!(|data: &[u8]| {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    if !matches!(request.parse(data), Ok(httparse::Status::Complete(_))) {
        return;
    }
    let mut out = Vec::new();
    let code = match handshake::examine(&request) {
        Ok(None) => return,
        Ok(Some(upgrade)) => {
            let params = deflate::negotiate(&deflate::Config::default(), upgrade.extensions());
            handshake::write_response(
                &mut out,
                upgrade.key(),
                upgrade.subprotocols().next(),
                params.as_ref(),
            );
            101
        }
        Err(refusal) => {
            refusal.write_response(&mut out);
            refusal.status()
        }
    };
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    assert!(
        response
            .parse(&out)
            .expect("our own response")
            .is_complete()
    );
    assert_eq!(response.code, Some(code));
});
