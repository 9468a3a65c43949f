//! Every dependency has a licence, a source and a user that `deny.toml` allows: the part of
//! `cargo deny check` that needs no network and no other program. Versions are given in the
//! workspace only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// The parts of `deny.toml` that are checked here; cargo-deny checks the rest.
#[derive(Deserialize)]
struct Deny {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    /// The crates that may depend on it directly.
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[test]
fn every_licence_is_allowed() {
    let Deny { graph, licenses, .. } = deny();
    let allow = |name: &str| -> Vec<String> {
        let own = licenses.exceptions.iter().filter(|it| it.name == name);
        licenses.allow.iter().chain(own.flat_map(|it| &it.allow)).cloned().collect()
    };
    let packages = packages(&graph);
    assert!(packages.len() > 100, "only {} packages found", packages.len());
    let wrong = packages.iter().filter(|it| !allowed(&it.licence, &allow(&it.name)));
    none(wrong.map(|it| format!("{}: {:?} is not in deny.toml", it.name, it.licence)));
}

#[test]
fn every_exception_is_in_use() {
    let Deny { graph, licenses, .. } = deny();
    let packages = packages(&graph);
    let used = |it: &&Exception| packages.iter().any(|package| package.name == it.name);
    none(licenses.exceptions.iter().filter(|it| !used(it)).map(|it| it.name.clone()));
}

#[test]
fn banned_crates_stay_out_and_large_ones_behind_one_crate() {
    let Deny { graph, bans, .. } = deny();
    let ban = |name: &str| bans.deny.iter().find(|ban| ban.name == name);
    none(packages(&graph).into_iter().filter_map(|Package { name, user, .. }| {
        let wrappers = &ban(&name)?.wrappers;
        let user = user.filter(|user| !wrappers.contains(user))?;
        Some(format!("{user} → {name}"))
    }));
}

#[test]
fn every_package_comes_from_an_allowed_registry() {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let registries = deny().sources.allow_registry.into_iter();
    let registries: Vec<_> = registries.map(|url| format!("registry+{url}")).collect();
    let sources = lock["package"].as_array().unwrap().iter();
    let named = |it: &toml::Value| {
        Some((it["name"].as_str()?.to_owned(), it.get("source")?.as_str()?.to_owned()))
    };
    let wrong = sources.filter_map(named).filter(|(_, source)| !registries.contains(source));
    none(wrong.map(|(name, source)| format!("{name} from {source}")));
}

#[test]
fn versions_are_given_in_the_workspace_only() {
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap().iter();
    none(members.map(|it| it.as_str().unwrap()).flat_map(|member| {
        let manifest: toml::Table = read(&format!("{member}/Cargo.toml")).parse().unwrap();
        ["dependencies", "dev-dependencies", "build-dependencies"]
            .into_iter()
            .filter_map(|kind| manifest.get(kind)?.as_table().cloned())
            .flatten()
            .filter(|(_, how)| how.get("workspace").is_none())
            .map(|(name, _)| format!("{member}/Cargo.toml: {name} does not say workspace = true"))
            .collect::<Vec<_>>()
    }));
}

#[test]
fn licence_expressions_are_understood() {
    let allow = ["MIT", "Apache-2.0", "ISC"].map(str::to_owned);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("Unlicense/MIT", true),
        ("GPL-3.0 OR MPL-2.0", false),
        ("Apache-2.0 AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", false),
        ("ISC AND (Apache-2.0 OR GPL-3.0) AND MIT", true),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("", false),
    ] {
        assert_eq!(allowed(expression, &allow), expected, "{expression}");
    }
}

/// A package that is compiled into the workspace or its tests.
struct Package {
    name: String,
    licence: String,
    /// The package that depends on it directly; none of a member of the workspace.
    user: Option<String>,
}

/// One entry for each package and each direct user of it.
fn packages(graph: &Graph) -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--workspace", "--edges", "normal,build,dev"])
        .args(["--prefix", "depth", "--format", " {p}|{l}|"])
        .args(graph.targets.iter().flat_map(|target| ["--target", target]))
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut path: Vec<String> = Vec::new();
    let listed = String::from_utf8(output.stdout).unwrap();
    let lines = listed.lines().filter(|line| !line.is_empty());
    let package = |line: &str| {
        let (depth, rest) = line.split_once(' ')?;
        let (package, rest) = rest.split_once('|')?;
        let (name, licence) = (package.split(' ').next()?, rest.split('|').next()?);
        path.truncate(depth.parse().ok()?);
        let user = path.last().cloned();
        path.push(name.to_owned());
        Some(Package { name: name.to_owned(), licence: licence.to_owned(), user })
    };
    lines.map(package).collect::<Option<_>>().expect("cargo tree prints in the asked format")
}

/// Whether an SPDX expression is satisfied by these licences. `AND` binds tighter than `OR`, and an
/// old `/` means `OR`.
fn allowed(expression: &str, allow: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let satisfied = either(&mut rest, allow);
    satisfied && rest.is_empty()
}

fn either(words: &mut &[&str], allow: &[String]) -> bool {
    let mut satisfied = both(words, allow);
    while take(words, "OR") {
        satisfied |= both(words, allow);
    }
    satisfied
}

fn both(words: &mut &[&str], allow: &[String]) -> bool {
    let mut satisfied = one(words, allow);
    while take(words, "AND") {
        satisfied &= one(words, allow);
    }
    satisfied
}

fn one(words: &mut &[&str], allow: &[String]) -> bool {
    if take(words, "(") {
        let satisfied = either(words, allow);
        return take(words, ")") && satisfied;
    }
    let Some((name, rest)) = words.split_first() else { return false };
    *words = rest;
    let mut licence = (*name).to_owned();
    if take(words, "WITH") {
        let Some((exception, rest)) = words.split_first() else { return false };
        *words = rest;
        licence = format!("{licence} WITH {exception}");
    }
    allow.contains(&licence)
}

/// Takes the next word off if it is this one.
fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

fn deny() -> Deny {
    toml::from_str(&read("deny.toml")).unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[track_caller]
fn none(findings: impl Iterator<Item = String>) {
    let findings: Vec<_> = findings.collect();
    assert!(findings.is_empty(), "{findings:#?}");
}
