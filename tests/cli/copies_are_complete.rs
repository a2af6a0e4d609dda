//! What comes out of an import is what went into the export, by either way.

use crate::place::*;

#[test]
fn with_history_grants_and_counts() {
    let origin = Place::new(Way::Direct, every_kind);
    let exported = origin.export();
    assert_eq!(exported.lines().count(), 8);
    for part in [
        r#""deleted":true"#,
        r#""superseded_by""#,
        r#""change":"superseded""#,
        r#""permission":"write""#,
        r#""access_count":3"#,
        r#""content":"first text""#,
        r#""valid_to":"2120-01-01T00:00:00Z""#,
        r#""metadata":{"k":[1,2.50,"ü\n"],"deep":{"x":null}}"#,
    ] {
        assert!(exported.contains(part), "{part} is not in {exported}");
    }
    let served = Place {
        server: Some(crate::harness::launch(&[]).data(origin.dir.path()).start()),
        dir: origin.dir,
    };
    assert_eq!(served.export(), exported, "a server exports the same");
    for way in WAYS {
        let copy = Place::empty(way);
        let (path, name) = file(&copy.dir, "export.jsonl");
        let said = succeeded(&served.run(&["export", &name]));
        assert_eq!(said.trim(), format!("8 memories in {name}"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), exported);
        let said = succeeded(&copy.run(&["import", &name]));
        assert_eq!(said.trim(), "8 memories stored, 0 left alone");
        assert_eq!(copy.export(), exported, "{way:?}");
        let said = succeeded(&copy.run_with(&["import", "-"], &exported));
        assert_eq!(said.trim(), "0 memories stored, 8 left alone");
        assert_eq!(copy.export(), exported, "{way:?}");
    }
}

#[test]
fn over_many_pages() {
    let origin = Place::new(Way::Direct, many);
    let exported = origin.export();
    assert_eq!(exported.lines().count(), 300);
    for way in WAYS {
        let copy = Place::empty(way);
        let said = succeeded(&copy.run_with(&["import", "-"], &exported));
        assert_eq!(said.trim(), "300 memories stored, 0 left alone");
        assert_eq!(copy.export(), exported, "{way:?}");
    }
}

#[test]
fn and_an_imported_memory_is_found() {
    let exported = Place::new(Way::Direct, every_kind).export();
    let copy = Place::empty(Way::Server);
    succeeded(&copy.run_with(&["import", "-"], &exported));
    let question = r#"{"query":"valid century","mode":"lexical"}"#;
    let answer = succeeded(&copy.run(&[
        "call",
        "memory/search",
        question,
        "--agent-id",
        "carol",
        "--namespace",
        "red",
    ]));
    assert!(answer.contains("valid for a century"), "{answer}");
}

#[test]
fn an_existing_file_is_replaced_only_by_a_whole_one() {
    let origin = Place::new(Way::Direct, every_kind);
    let (path, name) = file(&origin.dir, "out");
    std::fs::write(&path, "earlier").unwrap();
    let nowhere = tempfile::tempdir().unwrap();
    let nothing = text(&nowhere.path().join("none"));
    let complaint = failed(&tmws(&["export", &name, "--data-dir", &nothing], ""), 1);
    assert!(complaint.contains("there is no store in"), "{complaint}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "earlier");
    succeeded(&origin.run(&["export", &name]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), origin.export());
    let entries = std::fs::read_dir(origin.dir.path()).unwrap();
    let leftover = |entry: &std::fs::DirEntry| entry.path().to_string_lossy().contains(".part");
    assert_eq!(entries.map(Result::unwrap).filter(leftover).count(), 0);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "private memories are in it");
}
