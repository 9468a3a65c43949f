//! The house rules that a program can check: sizes of files and functions, and the walls of
//! `docs/ARCHITECTURE.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A source file of the workspace: its path from the root, and its lines.
struct Source {
    path: String,
    lines: Vec<String>,
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    let found = sources();
    let long = found.iter().filter(|source| source.lines.len() > FILE_LINES_MAX);
    let long = long.map(|source| format!("{} has {} lines", source.path, source.lines.len()));
    let silent = found.iter().filter(|source| !source.lines[0].starts_with("//!"));
    let silent = silent.map(|source| format!("{} does not begin with //!", source.path));
    let modules = found.iter().filter(|source| source.path.ends_with("/mod.rs"));
    let modules = modules.map(|source| format!("{} should be named as its folder", source.path));
    none(long.chain(silent).chain(modules));
}

#[test]
fn no_line_is_past_the_last_column() {
    none(sources().iter().flat_map(|source| {
        let lines = source.lines.iter().enumerate();
        let wide = lines.filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
        wide.map(|(at, line)| {
            format!("{}:{}: {} columns", source.path, at + 1, line.chars().count())
        })
        .collect::<Vec<_>>()
    }));
}

#[test]
fn every_function_is_short() {
    none(sources().iter().flat_map(|source| {
        let long =
            functions(&source.lines).into_iter().filter(|(_, size)| *size > FUNCTION_LINES_MAX);
        long.map(|(line, size)| format!("{}:{line}: a function of {size} lines", source.path))
            .collect::<Vec<_>>()
    }));
}

#[test]
fn nothing_is_left_undone() {
    forbid(&["todo!", "unimplemented!", "dbg!"], |_| true);
}

#[test]
fn each_dependency_of_the_node_has_one_folder() {
    for (word, folders) in [
        ("libp2p::", &["node/net/"][..]),
        ("sled::", &["node/home/src/store"]),
        ("witan_model", &["node/src/jobs", "node/lab/", "node/cli/", "node/tests/"]),
        // Whatever trains, asks or draws does so by the one trait, whichever model it is.
        ("families::", &["node/cli/src/model/", "node/cli/tests/"]),
        ("clap::", &["node/cli/", "node/lab/examples/", "node/lab/src/spec"]),
        ("indicatif::", &["node/cli/"]),
    ] {
        forbid(&[word], |path| {
            path.starts_with("node/") && !folders.iter().any(|folder| path.starts_with(folder))
        });
    }
}

#[test]
fn only_commands_print() {
    let silent = [
        "node/src/",
        "node/files/",
        "node/net/src/",
        "node/home/",
        "node/lab/src/",
        "protocol/src/",
        "model/src/",
        "model/adapter/src/",
        "model/data/src/",
        "bootstrap/src/",
    ];
    forbid(&["print!(", "println!(", "eprintln!(", "stdout()", "stderr()"], |path| {
        let prints = path.starts_with("node/cli/") || path == "bootstrap/src/main.rs";
        silent.iter().any(|folder| path.starts_with(folder)) && !prints && !is_test(path)
    });
}

#[test]
fn the_protocol_has_no_clock_runtime_network_disk_or_threads() {
    let words = [
        "Instant",
        "SystemTime",
        "std::net",
        "std::fs",
        "std::thread",
        "std::env",
        "std::process",
        "std::io",
        "tokio",
    ];
    forbid(&words, |path| path.starts_with("protocol/src/"));
    // Malachite brings tokio along, without any of its runtimes, timers or sockets.
    depends_on_none("witan-protocol", &["libp2p", "sled", "burn-core", "mio", "socket2"]);
}

#[test]
fn the_model_has_no_network_and_the_bootstrap_peer_no_model() {
    depends_on_none("witan-model", &["witan-protocol", "tokio", "libp2p", "sled", "socket2"]);
    let pure = ["witan-protocol", "witan-model", "burn-core", "tokio", "libp2p", "sled", "socket2"];
    depends_on_none("witan-adapter", &pure);
    depends_on_none("witan-data", &pure);
    depends_on_none("witan-bootstrap", &["witan-model", "burn-core", "sled"]);
}

#[test]
fn an_audit_needs_neither_burn_nor_the_network() {
    depends_on_none("witan-home", &["witan-model", "burn-core", "witan-net", "libp2p"]);
    depends_on_none("witan-net", &["witan-model", "burn-core", "witan-home", "sled"]);
}

#[test]
fn the_map_names_files_that_exist() {
    let map = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let named = map.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs"));
    let is_pattern = |name: &str| name.contains(char::is_uppercase) || name.contains(['{', '(']);
    let sources = sources();
    let named: Vec<_> = named.filter(|name| !is_pattern(name)).collect();
    assert!(named.len() > 20, "only {named:?}");
    let exists = |name: &&str| {
        sources.iter().any(|source| {
            source
                .path
                .strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        })
    };
    none(named.into_iter().filter(|name| !exists(name)).map(|name| format!("{name} is gone")));
}

#[test]
fn the_measure_of_functions_finds_them() {
    let text = "fn a() {\n    b();\n}\n\nimpl C {\n    \
                pub async fn d(\n        e: F,\n    ) {\n    }\n}\n\
                trait G {\n    fn h(&self);\n}\nfn i() {}";
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_eq!(functions(&lines), [(1, 3), (6, 4)]);
}

/// The line and the number of lines of each function of more than one line, in formatted source:
/// one ends at the first `}` that stands as far in as it began.
fn functions(lines: &[String]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let words = line.trim_start();
        let indent = &line[..line.len() - words.len()];
        let mut words = words.split(' ').skip_while(|word| {
            word.starts_with("pub") || ["const", "async", "unsafe", "extern"].contains(word)
        });
        if words.next() != Some("fn") || line.ends_with(['}', ';']) {
            continue;
        }
        let (end, declared) = (format!("{indent}}}"), format!("{indent})"));
        let is_last =
            |line: &&String| **line == end || (line.starts_with(&declared) && line.ends_with(';'));
        if let Some(last) = lines[at..].iter().find(is_last)
            && *last == end
        {
            let size = lines[at..].iter().take_while(|line| **line != end).count() + 1;
            found.push((at + 1, size));
        }
    }
    found
}

/// No line of the chosen files holds one of these words; what is said in comments and texts, and
/// what only tests do, is free.
#[track_caller]
fn forbid(words: &[&str], chosen: impl Fn(&str) -> bool) {
    none(sources().iter().filter(|source| chosen(&source.path)).flat_map(|source| {
        let tests = source.lines.iter().position(|line| line == "#[cfg(test)]");
        let lines = source.lines.iter().take(tests.unwrap_or(usize::MAX)).enumerate();
        let bad = lines.filter(|(_, line)| {
            let code = code_of(line);
            words.iter().any(|word| code.contains(word))
        });
        bad.map(|(at, line)| format!("{}:{}: {}", source.path, at + 1, line.trim()))
            .collect::<Vec<_>>()
    }));
}

/// A line without its comment and its texts.
fn code_of(line: &str) -> String {
    let code = line.split("//").next().unwrap_or_default();
    code.split('"').step_by(2).collect()
}

#[track_caller]
fn depends_on_none(package: &str, banned: &[&str]) {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.starts_with(package), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = tree.lines().filter_map(|line| line.split(' ').next());
    none(packages.filter(|name| banned.contains(name)).map(|name| format!("{package} → {name}")));
}

#[track_caller]
fn none(findings: impl Iterator<Item = String>) {
    let findings: Vec<_> = findings.collect();
    assert!(findings.is_empty(), "{findings:#?}");
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path == "node/home/src/store/crash.rs"
}

/// Every source file of the workspace.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for package in ["protocol", "model", "bootstrap", "node", "tests"] {
        collect(&root().join(package), &mut files);
    }
    assert!(files.len() > 100, "only {} files found", files.len());
    files
}

fn collect(folder: &Path, files: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            files.push(Source { path, lines: text.lines().map(str::to_owned).collect() });
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 60;
const COLUMNS_MAX: usize = 100;
