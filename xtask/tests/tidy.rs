//! Tidiness as a test: what a reviewer would otherwise say every time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// More than this is two files.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the project").to_owned()
}

/// Every Rust file of the project, by its path from the root, with its text.
fn rust_files() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            "crates/**/*.rs",
            "xtask/**/*.rs",
        ])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    let names = String::from_utf8(listed.stdout).expect("names are UTF-8");
    let files: Vec<_> = names
        .lines()
        .filter_map(|name| Some((name.to_owned(), fs::read_to_string(root().join(name)).ok()?)))
        .collect();
    assert!(files.len() > 40, "only {} files were found: the list is broken", files.len());
    files
}

/// The part of a file that isn't its tests.
fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod ").map_or(text, |(code, _)| code)
}

fn too_long(name: &str, text: &str) -> Option<String> {
    let lines = without_tests(text).lines().count();
    (lines > MAX_LINES).then(|| format!("{name} has {lines} lines; a stranger would rather find two files"))
}

fn sql_outside_the_store(name: &str, text: &str) -> Option<String> {
    let allowed = ["crates/store/", "crates/bench/", "xtask/"].iter().any(|place| name.starts_with(place));
    if allowed || name.contains("/tests/") {
        return None;
    }
    let verbs = ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM "];
    line_with(without_tests(text), |line| verbs.iter().any(|verb| line.contains(verb)))
        .map(|n| format!("{name}:{n}: SQL belongs to crates/store"))
}

fn printing(name: &str, text: &str) -> Option<String> {
    let allowed = ["crates/app/src/printer.rs", "crates/bench/", "crates/web/build.rs", "xtask/tests/"];
    if allowed.iter().any(|place| name.starts_with(place)) || name.contains("/tests/") {
        return None;
    }
    let calls = ["println!(", "eprintln!(", "process::exit("];
    line_with(without_tests(text), |line| calls.iter().any(|call| line.contains(call)))
        .map(|n| format!("{name}:{n}: only crates/app/src/printer.rs talks, and nothing ends the process"))
}

fn unwrapping(name: &str, text: &str) -> Option<String> {
    if name.contains("/tests/") {
        return None;
    }
    line_with(without_tests(text), |line| line.contains(".unwrap()"))
        .map(|n| format!("{name}:{n}: say with expect() why it can't fail, or return an error"))
}

fn unfinished(name: &str, text: &str) -> Option<String> {
    if name == "xtask/tests/tidy.rs" {
        return None;
    }
    let words = ["todo!(", "unimplemented!("];
    line_with(text, |line| words.iter().any(|word| line.contains(word)))
        .map(|n| format!("{name}:{n}: finish it, or write it down where work is planned"))
}

fn nameless(name: &str) -> Option<String> {
    let stem = Path::new(name).file_stem()?.to_str()?;
    ["util", "utils", "common", "helpers", "manager", "misc"]
        .contains(&stem)
        .then(|| format!("{name}: a file is named after what is in it"))
}

/// Tests that a page names, as `folder/file.rs::function`, which aren't there. A path begins where the tests of the
/// server are, or in `crates`.
fn tests_that_are_gone(page: &str, files: &[(String, String)]) -> Vec<String> {
    let named = page.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once(".rs::"));
    named
        .filter(|(file, function)| {
            let (test, place) = (format!("fn {function}("), format!("/{file}.rs"));
            let homes = ["crates/app/tests/it", "crates", "."].map(|home| format!("{home}{place}"));
            let there = files
                .iter()
                .filter(|(name, _)| homes.iter().any(|home| home.trim_start_matches("./") == name));
            !there.into_iter().any(|(_, text)| text.contains(&test))
        })
        .map(|(file, function)| format!("docs/security.md names {file}.rs::{function}, which isn't there"))
        .collect()
}

fn line_with(text: &str, matches: impl Fn(&str) -> bool) -> Option<usize> {
    let is_code = |line: &str| !line.trim_start().starts_with("//");
    text.lines().position(|line| is_code(line) && matches(line)).map(|at| at + 1)
}

/// What each crate may depend on: floors below it.
const FLOORS: [(&str, &[&str]); 6] = [
    ("model", &[]),
    ("detect", &["model"]),
    ("store", &["model"]),
    ("pipeline", &["model", "detect", "store"]),
    ("web", &["model", "detect", "store", "pipeline"]),
    ("app", &["model", "detect", "store", "pipeline", "web"]),
];

fn upward_edges(name: &str, manifest: &str) -> Vec<String> {
    let allowed = FLOORS.iter().find(|(floor, _)| *floor == name).map_or(&[][..], |(_, below)| below);
    let used = manifest.lines().filter_map(|line| line.strip_prefix("watchpost-"));
    let used = used.filter_map(|rest| rest.split(['.', ' ', '=']).next());
    used.filter(|other| !allowed.contains(other))
        .map(|other| format!("{name} may not depend on {other}"))
        .collect()
}

#[test]
fn the_project_is_tidy() {
    let files = rust_files();
    let mut said: Vec<String> = Vec::new();
    for (name, text) in &files {
        for rule in [too_long, sql_outside_the_store, printing, unwrapping, unfinished] {
            said.extend(rule(name, text));
        }
        said.extend(nameless(name));
    }
    for (name, _) in FLOORS {
        let manifest =
            fs::read_to_string(root().join(format!("crates/{name}/Cargo.toml"))).expect("a manifest");
        said.extend(upward_edges(name, &manifest));
    }
    let page = fs::read_to_string(root().join("docs/security.md")).expect("a page");
    said.extend(tests_that_are_gone(&page, &files));
    assert!(said.is_empty(), "\n{}", said.join("\n"));
}

#[test]
fn every_rule_can_fail() {
    let place = "crates/web/src/x.rs";
    assert!(too_long(place, &"x\n".repeat(501)).is_some());
    assert!(too_long(place, &format!("x\n#[cfg(test)]\nmod tests {{\n{}", "x\n".repeat(501))).is_none());
    assert!(sql_outside_the_store(place, "let q = \"SELECT 1\";").is_some());
    assert!(sql_outside_the_store("crates/store/src/x.rs", "let q = \"SELECT 1\";").is_none());
    assert!(printing(place, "println!(\"x\");").is_some());
    assert!(unwrapping(place, "x.unwrap();").is_some());
    assert!(unwrapping(place, "// x.unwrap();").is_none());
    assert!(unfinished(place, "// TODO").is_none(), "comments are prose");
    assert!(unfinished(place, "todo!()").is_some());
    assert!(nameless("crates/web/src/util.rs").is_some());
    assert_eq!(upward_edges("store", "watchpost-web.workspace = true"), ["store may not depend on web"]);
    assert!(upward_edges("web", "watchpost-store.workspace = true").is_empty());
    let files = [
        ("crates/app/tests/it/a/b.rs".to_owned(), "fn one(".to_owned()),
        ("crates/web/src/c.rs".to_owned(), "fn two(".to_owned()),
    ];
    assert_eq!(tests_that_are_gone("`a/b.rs::one` and `web/src/c.rs::two`", &files), Vec::<String>::new());
    assert_eq!(tests_that_are_gone("`a/b.rs::two`, `b.rs::one`", &files).len(), 2);
}
