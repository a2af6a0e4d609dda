//! The provider `http` against services that behave and misbehave.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Service;
use crate::config::{EmbeddingApi, Secret};
use crate::embed::pool::Stop;
use crate::embed::provider::Provider;

/// Answers one connection after another with these texts, and returns what it was asked.
struct Peer {
    url: String,
    thread: JoinHandle<Vec<String>>,
}

fn peer(answers: Vec<String>) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/embeddings", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let answer = |text: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let question = read_request(&mut stream);
            stream.write_all(text.as_bytes()).unwrap();
            question
        };
        answers.into_iter().map(answer).collect()
    });
    Peer { url, thread }
}

/// Reads a head and as much of a body as it announces.
fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    request.extend(body);
    String::from_utf8(request).unwrap()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn service(url: &str, api: EmbeddingApi) -> Service {
    let patience = Duration::from_millis(500);
    let key = Secret::new("s3cr3t");
    Service::with_patience(patience, url, api, key, "some-model", 2, Stop::default())
}

fn refusal(answers: Vec<String>) -> String {
    let peer = peer(answers);
    let error = service(&peer.url, EmbeddingApi::OpenAi)
        .embed(&["a"])
        .unwrap_err();
    peer.thread.join().unwrap();
    error.to_string()
}

const ONE: &str = r#"{"data":[{"embedding":[3,4]}]}"#;

#[test]
fn several_texts_go_in_one_request_and_come_back_in_order() {
    let body = r#"{"data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[3,4]}]}"#;
    let peer = peer(vec![answer("200 OK", "", body)]);
    let vectors = service(&peer.url, EmbeddingApi::OpenAi)
        .embed(&["a", "b\""])
        .unwrap();
    assert_eq!(
        (&*vectors[0], &*vectors[1]),
        (&[0.6, 0.8][..], &[0.0, 1.0][..])
    );
    let asked = peer.thread.join().unwrap().remove(0);
    assert!(
        asked.contains(r#"{"model":"some-model","input":["a","b\""]}"#),
        "{asked}"
    );
    assert!(
        asked
            .to_lowercase()
            .contains("authorization: bearer s3cr3t"),
        "{asked}"
    );
}

#[test]
fn the_other_interface_is_spoken_as_well() {
    let peer = peer(vec![answer(
        "200 OK",
        "",
        r#"{"model":"m","embeddings":[[0,-5]]}"#,
    )]);
    let vectors = service(&peer.url, EmbeddingApi::Ollama)
        .embed(&["a"])
        .unwrap();
    assert_eq!(&*vectors[0], &[0.0, -1.0]);
    peer.thread.join().unwrap();
}

#[test]
fn a_service_that_is_busy_is_asked_again() {
    let peer = peer(vec![
        answer("429 Too Many Requests", "Retry-After: 0\r\n", "slow down"),
        answer("503 Service Unavailable", "Retry-After: 0\r\n", ""),
        answer("200 OK", "", ONE),
    ]);
    let vectors = service(&peer.url, EmbeddingApi::OpenAi)
        .embed(&["a"])
        .unwrap();
    assert_eq!(&*vectors[0], &[0.6, 0.8]);
    assert_eq!(peer.thread.join().unwrap().len(), 3);
}

#[test]
fn a_wait_that_is_too_long_is_not_waited_for() {
    let error = refusal(vec![answer(
        "429 Too Many Requests",
        "Retry-After: 3600\r\n",
        "tomorrow",
    )]);
    assert!(
        error.contains("429") && error.contains("tomorrow"),
        "{error}"
    );
}

#[test]
fn what_will_not_get_better_is_not_tried_again() {
    let error = refusal(vec![answer("401 Unauthorized", "", "who are you?")]);
    assert!(
        error.contains("401") && error.contains("who are you?"),
        "{error}"
    );
}

#[test]
fn answers_that_are_no_vectors_are_errors() {
    for (body, sign) in [
        (
            r#"{"data":[{"embedding":[1,2,3]}]}"#,
            "vector_dimension is 2",
        ),
        (r#"{"data":[]}"#, "0 vectors for 1"),
        (r#"{"data":[{"embedding":[0,0]}]}"#, "without a direction"),
        ("<html>it works</html>", "another form"),
    ] {
        let error = refusal(vec![answer("200 OK", "", body)]);
        assert!(error.contains(sign), "{error}");
    }
}

#[test]
fn an_answer_without_end_is_not_read_to_the_end() {
    let body = format!(
        r#"{{"data":[{{"embedding":[{}1]}}]}}"#,
        "1,".repeat(100_000)
    );
    let error = refusal(vec![answer("200 OK", "", &body)]);
    assert!(error.contains("broke off"), "{error}");
}

#[test]
fn a_service_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let error = service(&url, EmbeddingApi::OpenAi)
        .embed(&["a"])
        .unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");
}
