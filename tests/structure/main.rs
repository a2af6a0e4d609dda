//! The shape of the source: imports point up the page of `src/lib.rs`, and files stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests; beyond it a file does more than one thing.
const LINES_MAX: usize = 400;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.file_name().is_some_and(|name| name == "tests.rs") {
            // The tests of the module beside it.
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules in the order of `lib.rs`.
fn order() -> Vec<String> {
    fs::read_to_string(root().join("lib.rs"))
        .unwrap()
        .lines()
        .filter_map(|line| {
            line.strip_prefix("pub mod ")?
                .strip_suffix(';')
                .map(str::to_owned)
        })
        .collect()
}

/// Every `crate::module` of a text, in whatever form.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let inner = rest
            .strip_prefix('{')
            .map_or_else(|| vec![rest], |list| list.split(',').collect());
        for part in inner {
            let name: String = part
                .trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.push(name);
        }
    }
    found
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn imports_point_up_the_page() {
    let order = order();
    assert!(order.len() > 10, "lib.rs lists the modules");
    let place = |module: &str| order.iter().position(|known| known == module);
    let mut files = Vec::new();
    sources(&root(), &mut files);
    for file in files {
        let inside = file.strip_prefix(root()).unwrap().to_owned();
        let module = inside
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        let Some(own) = place(&module) else { continue };
        for import in imports(&without_comments_and_tests(
            &fs::read_to_string(&file).unwrap(),
        )) {
            if let Some(other) = place(&import) {
                assert!(
                    other <= own,
                    "{}: {module} imports {import}, which stands below it",
                    inside.display()
                );
            }
        }
    }
}

#[test]
fn files_are_small() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text
            .split("#[cfg(test)]\nmod ")
            .next()
            .unwrap_or_default()
            .lines()
            .count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", file.display());
    }
}

#[test]
fn unsafe_stays_where_the_kernel_or_a_kernel_needs_it() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    for file in files {
        let inside = file.strip_prefix(root()).unwrap().to_owned();
        let allowed = [
            "allocator.rs",
            "net",
            "embed/kernels",
            "store/vectors/kernels",
        ]
        .iter()
        .any(|folder| inside.starts_with(folder));
        let code = without_comments_and_tests(&fs::read_to_string(&file).unwrap());
        let uses = code
            .lines()
            .any(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        assert!(allowed || !uses, "{} has unsafe code", inside.display());
    }
}

#[test]
fn only_main_reads_the_command_line_and_only_the_server_starts_threads() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    for file in files {
        let inside = file.strip_prefix(root()).unwrap().to_owned();
        let code = without_comments_and_tests(&fs::read_to_string(&file).unwrap());
        assert!(
            !code.contains("env::args") || inside == Path::new("main.rs"),
            "{}",
            inside.display()
        );
        // The embedded store owns its writer and readers, the design's other threads.
        let may_start = inside.starts_with("server") || inside.starts_with("store/sqlite");
        let starts = code.contains("thread::spawn") || code.contains("thread::Builder");
        assert!(may_start || !starts, "{} starts a thread", inside.display());
    }
}
