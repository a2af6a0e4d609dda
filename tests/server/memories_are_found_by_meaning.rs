//! Searches by meaning through the whole server: with hashed words for a model, with the real one,
//! without any, and while one takes the place of another.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Client, agent, launch, on_both};

const HASHED: [&str; 4] = [
    "--embedding-provider",
    "static",
    "--embedding-model",
    "static",
];

async fn store(client: &mut Client, content: &str) -> Value {
    client
        .result("memory/create", json!({"content": content}))
        .await
}

/// Waits for what comes by itself a little later.
async fn until(client: &mut Client, method: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client.result(method, json!({})).await;
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn every_mode_says_how_it_scored() {
    on_both(async |io| {
        let server = launch(&[&["--io", io], &HASHED[..]].concat()).start();
        let mut client = agent(&server, "alice").await;
        let text = "The billing key of the northern harbour office is rotated on Mondays";
        let first = store(&mut client, text).await;
        assert_eq!(first["near_duplicates"], json!([]));
        let second = store(&mut client, &text.replace("Mondays", "all Mondays")).await;
        assert_eq!(second["near_duplicates"][0]["id"], first["id"]);
        store(&mut client, "Lunch is at noon").await;
        for (mode, parts) in [
            ("hybrid", ["similarity", "lexical"].as_slice()),
            ("semantic", &["similarity"]),
            ("lexical", &["lexical"]),
        ] {
            let question = json!({"query": "billing key rotated", "mode": mode, "explain": true});
            let found = client.result("memory/search", question).await;
            assert_eq!(found["mode"], mode);
            assert!(found.get("note").is_none(), "{found}");
            let best = &found["hits"][0];
            assert_eq!(best["id"], first["id"], "{mode}");
            for part in ["similarity", "lexical"] {
                let there = best["explain"][part]
                    .as_f64()
                    .is_some_and(|value| value > 0.3);
                assert_eq!(there, parts.contains(&part), "{mode} {part} {best}");
            }
        }
        let strict =
            json!({"query": "billing key rotated", "min_similarity": 0.3, "mode": "semantic"});
        let found = client.result("memory/search", strict).await;
        assert_eq!(found["hits"].as_array().unwrap().len(), 2, "{found}");
    });
}

#[test]
fn a_budget_of_tokens_cuts_texts_to_what_answers() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = agent(&server, "alice").await;
        let noise = "nothing of interest here ".repeat(40);
        store(
            &mut client,
            &format!("{noise} the gate code is 4711 {noise}"),
        )
        .await;
        store(&mut client, "the gate is green").await;
        let question = json!({"query": "gate code", "max_tokens": 60});
        let found = client.result("memory/search", question).await;
        let hits = found["hits"].as_array().unwrap();
        assert_eq!(hits.len(), 2);
        let long = hits.iter().find(|hit| hit["snippet"] == true).unwrap();
        assert!(
            long["content"]
                .as_str()
                .unwrap()
                .contains("gate code is 4711"),
            "{long}"
        );
        let chars: usize = hits
            .iter()
            .map(|hit| hit["content"].as_str().unwrap().len())
            .sum();
        assert!(chars <= 260, "{chars}");
        let question = json!({"query": "gate code", "max_tokens": 8});
        let found = client.result("memory/search", question).await;
        assert_eq!(found["truncated"], true);
    });
}

#[test]
fn without_a_model_every_answer_says_so() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = agent(&server, "alice").await;
        store(&mut client, "The billing key is rotated on Mondays").await;
        for (mode, told) in [("hybrid", true), ("semantic", true), ("lexical", false)] {
            let question = json!({"query": "billing", "mode": mode});
            let found = client.result("memory/search", question).await;
            assert_eq!(found["mode"], "lexical");
            assert_eq!(found["hits"].as_array().unwrap().len(), 1);
            assert_eq!(found["note"].is_string(), told);
            assert_eq!(found["requested_mode"] == mode, told);
        }
        let health = client.result("system/health", json!({})).await;
        assert_eq!(
            (&health["search"], &health["embedding"]),
            (&json!("lexical"), &json!("off"))
        );
    });
}

#[test]
fn the_real_model_finds_a_paraphrase_just_stored() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--embedding-model", "minilm"]).start();
        let mut client = agent(&server, "alice").await;
        until(&mut client, "system/health", |health| {
            health["search"] == "hybrid"
        })
        .await;
        store(&mut client, "The quarterly numbers are due on Friday").await;
        let allergy = store(
            &mut client,
            "Priya breaks out in hives whenever she eats cashews",
        )
        .await;
        for mode in ["hybrid", "semantic"] {
            let question =
                json!({"query": "Which nuts is our colleague allergic to?", "mode": mode});
            let found = client.result("memory/search", question).await;
            assert_eq!(found["mode"], mode);
            assert_eq!(found["hits"][0]["id"], allergy["id"], "{found}");
        }
    });
}

#[test]
fn what_was_stored_without_a_model_gets_its_vector_later() {
    on_both(async |io| {
        let dir = tempfile::tempdir().unwrap();
        let server = launch(&["--io", io]).data(dir.path()).start();
        let mut client = agent(&server, "alice").await;
        store(&mut client, "The billing key is rotated on Mondays").await;
        drop(client);
        drop(server);
        let server = launch(&[&["--io", io], &HASHED[..]].concat())
            .data(dir.path())
            .start();
        let mut client = agent(&server, "alice").await;
        let status = until(&mut client, "embedding/status", |status| {
            status["active"]["embedded"] == 1
        });
        assert_eq!(status.await["active"]["model"], "static");
        let question = json!({"query": "billing key", "mode": "semantic"});
        let found = client.result("memory/search", question).await;
        assert_eq!(
            (&found["mode"], found["hits"].as_array().unwrap().len()),
            (&json!("semantic"), 1)
        );
    });
}

#[test]
fn a_model_takes_the_place_of_another_while_the_server_serves() {
    on_both(async |io| {
        let dir = tempfile::tempdir().unwrap();
        let server = launch(&[&["--io", io], &HASHED[..]].concat())
            .data(dir.path())
            .start();
        let mut client = agent(&server, "alice").await;
        for n in 0..100 {
            store(&mut client, &format!("Note {n} of the billing team")).await;
        }
        let wrong = client.error(
            "embedding/switch",
            json!({"provider": "minilm", "dimension": 7}),
        );
        assert_eq!(wrong.await.0, -32602);
        let same = client
            .error("embedding/switch", json!({"provider": "static"}))
            .await;
        assert_eq!(same.0, 1409);
        let to = json!({"provider": "static", "dimension": 128});
        client.result("embedding/switch", to).await;
        let changed = |status: &Value| status["active"]["dimension"] == 128;
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let question = json!({"query": "billing team note", "mode": "semantic"});
            let found = client.result("memory/search", question).await;
            assert_eq!(found["hits"].as_array().unwrap().len(), 10, "{found}");
            let status = client.result("embedding/status", json!({})).await;
            if changed(&status) {
                assert_eq!(status["active"]["embedded"], 100);
                break;
            }
            assert!(Instant::now() < deadline, "{status}");
        }
        drop(client);
        drop(server);
        // The next start with the old dimension would compare what cannot be compared.
        let refused = std::process::Command::new(env!("CARGO_BIN_EXE_tmws"))
            .args([
                "serve",
                "--io",
                io,
                "--api-port",
                "0",
                "--ws-port",
                "0",
                "--data-dir",
            ])
            .arg(dir.path())
            .args(HASHED)
            .output()
            .unwrap();
        assert!(!refused.status.success());
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            told.contains("128") && told.contains("embedding/switch"),
            "{told}"
        );
    });
}
