//! A backup is restored as it was written, and refused before anything changes if it is not whole.

use crate::place::*;

#[test]
fn restored_it_is_the_same() {
    for way in WAYS {
        let origin = Place::new(way, every_kind);
        let (path, name) = file(&origin.dir, "backup");
        let said = succeeded(&origin.run(&["backup", &name]));
        let written = std::fs::read_to_string(&path).unwrap();
        let last = written.lines().last().unwrap();
        let sum = said.trim().rsplit(' ').next().unwrap();
        assert!(
            last.contains(&format!(r#""records":8,"sha256":"{sum}""#)),
            "{last}"
        );
        let copy = Place::empty(way);
        let said = succeeded(&copy.run(&["restore", &name]));
        assert_eq!(said.trim(), "8 memories stored, 0 left alone");
        assert_eq!(copy.export(), origin.export());
        // What is there is not mixed with what is not, unless that is asked for.
        let complaint = failed(&copy.run(&["restore", &name]), 1);
        assert!(
            complaint.contains("the store is not empty; --merge"),
            "{complaint}"
        );
        let said = succeeded(&copy.run(&["restore", "--merge", &name]));
        assert_eq!(said.trim(), "0 memories stored, 8 left alone");
    }
}

#[test]
fn an_empty_store_can_be_backed_up() {
    let origin = Place::empty(Way::Direct);
    let (_, name) = file(&origin.dir, "backup");
    succeeded(&origin.run(&["backup", &name]));
    let copy = Place::empty(Way::Direct);
    succeeded(&copy.run(&["restore", &name]));
    assert_eq!(copy.export(), "");
}

#[test]
fn damaged_it_is_refused() {
    let origin = Place::new(Way::Direct, every_kind);
    let (path, name) = file(&origin.dir, "backup");
    succeeded(&origin.run(&["backup", &name]));
    let whole = std::fs::read(&path).unwrap();
    let header = whole.iter().position(|&byte| byte == b'\n').unwrap();
    let trailer = whole[..whole.len() - 1]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .unwrap();
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    // Cut off: at nothing, inside and behind every part.
    for length in [
        0,
        1,
        header,
        header + 1,
        header + 700,
        trailer,
        trailer + 1,
        whole.len() - 2,
    ] {
        damaged.push(whole[..length].to_vec());
    }
    // One bit of any part.
    for at in (0..whole.len() - 1).step_by(whole.len() / 24) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        damaged.push(flipped);
    }
    // A line too many, a line too few, something behind the end.
    let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    damaged.push([&lines[..2], &lines[1..]].concat().concat());
    damaged.push([&lines[..1], &lines[2..]].concat().concat());
    damaged.push([&whole[..], b"{}\n"].concat());
    for way in WAYS {
        let copy = Place::empty(way);
        // A restart of the program for each is what takes time.
        for (index, bytes) in damaged.iter().enumerate() {
            std::fs::write(&path, bytes).unwrap();
            let complaint = failed(&copy.run(&["restore", "--merge", &name]), 1);
            let named = ["cut off", "damaged", "no backup"].iter();
            assert!(
                named.clone().any(|word| complaint.contains(word)),
                "{index}: {complaint}"
            );
        }
        assert_eq!(copy.export(), "", "{way:?}: nothing was stored");
    }
}

#[test]
fn a_newer_layout_is_refused() {
    let place = Place::empty(Way::Direct);
    let (path, name) = file(&place.dir, "backup");
    succeeded(&place.run(&["backup", &name]));
    let newer = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, newer.replace(r#""version":1"#, r#""version":2"#)).unwrap();
    let complaint = failed(&place.run(&["restore", &name]), 1);
    assert!(complaint.contains("use a newer tmws"), "{complaint}");
}
