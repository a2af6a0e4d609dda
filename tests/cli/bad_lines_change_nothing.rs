//! One bad line refuses the whole import, and is named with its field.

use crate::place::*;

#[test]
fn whatever_is_wrong_with_it() {
    let exported = Place::new(Way::Direct, every_kind).export();
    let long = format!(r#""content":"{}""#, "x".repeat(10_001));
    for way in WAYS {
        let place = Place::empty(way);
        for (was, is, said) in [
            (
                r#""importance":0.25"#,
                r#""importance":2.5"#,
                "importance: must lie",
            ),
            (
                r#""trust":0.75"#,
                r#""trust":"much""#,
                "memory.trust: invalid type",
            ),
            (
                r#""agent_id":"alice""#,
                r#""agent_id":"a lice""#,
                "agent_id: may hold",
            ),
            (
                r#""content":"superseded""#,
                &long,
                "content: exceeds 10000 characters",
            ),
            (
                r#""tags":["a","b"]"#,
                r#""tags":["a\nb"]"#,
                "tags: each needs",
            ),
            (
                r#""metadata":{"#,
                r#""metadata":7,"m":{"#,
                "memory.metadata: expected",
            ),
            ("Z\"", "\"", "expected an RFC 3339 time"),
            ("{", "", "line 2: "),
        ] {
            let mut lines: Vec<String> = exported.lines().map(str::to_owned).collect();
            assert!(lines[1].contains(was), "{was} is not in {}", lines[1]);
            lines[1] = lines[1].replacen(was, is, 1);
            let output = place.run_with(&["import", "-"], &lines.join("\n"));
            let complaint = failed(&output, 1);
            assert!(
                complaint.contains("standard input, line 2: "),
                "{complaint}"
            );
            assert!(complaint.contains(said), "{said}: {complaint}");
            assert_eq!(place.export(), "", "{way:?}: nothing was stored");
        }
    }
}

#[test]
fn also_after_many_good_pages() {
    let exported = Place::new(Way::Direct, many).export();
    let long = format!(r#""content":"{}""#, "é".repeat(10_001));
    let mut lines: Vec<String> = exported.lines().map(str::to_owned).collect();
    let at = lines[290].find(r#""content":"#).unwrap();
    let end = at + lines[290][at..].find(r#"","#).unwrap() + 1;
    lines[290].replace_range(at..end, &long);
    // Blank lines are none, but count.
    lines.insert(7, String::new());
    for way in WAYS {
        let place = Place::empty(way);
        let output = place.run_with(&["import", "-"], &lines.join("\n"));
        let complaint = failed(&output, 1);
        assert!(
            complaint.contains("line 292: content: exceeds"),
            "{complaint}"
        );
        assert_eq!(place.export(), "", "{way:?}: nothing was stored");
    }
}
