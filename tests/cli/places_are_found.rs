//! Which store a command works on, and what it says when it has none.

use crate::place::*;

#[test]
fn a_directory_in_use_is_left_to_its_server() {
    let place = Place::empty(Way::Server);
    let dir = text(place.dir.path());
    let complaint = failed(&tmws(&["export", "--data-dir", &dir], ""), 1);
    assert!(
        complaint.contains("in use by a running server; name that server with --url"),
        "{complaint}"
    );
}

#[test]
fn a_server_that_was_named_and_is_not_there_is_no_reason_to_open_a_store() {
    let place = Place::new(Way::Direct, every_kind);
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("ws://127.0.0.1:{port}/");
    let output = place.run(&["export", "--url", &url]);
    failed(&output, 3);
    assert!(output.stdout.is_empty());
}

#[test]
fn usage_is_told() {
    failed(&tmws(&["import"], ""), 2);
    failed(&tmws(&["backup"], ""), 2);
    failed(&tmws(&["export", "--url", "http://127.0.0.1/"], ""), 2);
    failed(&tmws(&["import", "/nonexistent/file"], ""), 1);
    let help = succeeded(&tmws(&["restore", "--help"], ""));
    assert!(
        help.contains("--merge") && help.contains("Exit codes:"),
        "{help}"
    );
}
