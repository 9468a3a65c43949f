//! No module of a crate imports, by whatever way round, itself: at every level of the module tree
//! the siblings stand in an order. A module may always name its own ancestors' items.
//!
//! Reads the sources with syn: `use` trees and paths in code, re-exports followed to where a name
//! is defined. Paths inside macro calls are read as tokens. What only tests import does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A module's path within its crate; the root's is empty.
type Module = Vec<String>;

#[test]
fn no_crate_has_an_import_cycle() {
    let crates = source_folders();
    assert!(crates.len() > 4, "only {crates:?} found");
    let cycles = crates.iter().flat_map(|folder| {
        let name = folder.strip_prefix(root()).expect("crates lie in the workspace");
        let named = move |cycle| format!("{}: {cycle}", name.display());
        cycles(&Crate::read(folder)).into_iter().map(named)
    });
    let cycles: Vec<_> = cycles.collect();
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn a_cycle_is_found_through_a_re_export_and_a_child() {
    let found = cycles(&Crate::of(&[
        ("", "mod a; mod b; mod c; pub use b::deep::B;"),
        ("a", "use crate::B; fn a() {}"),
        ("b", "pub mod deep;"),
        ("b::deep", "pub struct B; fn b() { crate::c::c() }"),
        ("c", "fn c() { println!(\"{}\", crate::a::a()) }"),
    ]));
    assert_eq!(found, ["a → b → c → a"]);
}

#[test]
fn ancestors_and_tests_may_be_named() {
    let found = cycles(&Crate::of(&[
        ("", "pub mod a; pub mod b;"),
        ("a", "pub mod child; use child::C; pub struct A;"),
        ("a::child", "use super::A; pub struct C;"),
        ("b", "use crate::a::A;"),
        ("a::other", "#[cfg(test)] mod tests { use crate::b::B; }"),
    ]));
    assert_eq!(found, [""; 0]);
}

/// The modules of one crate.
struct Crate {
    /// Each module's source.
    files: BTreeMap<Module, syn::File>,
    /// What each module hands on under another path: name and where it comes from.
    re_exports: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Crate {
    fn read(folder: &Path) -> Self {
        let mut texts = Vec::new();
        collect(folder, folder, &mut texts);
        Self::parsed(texts)
    }

    fn of(texts: &[(&str, &str)]) -> Self {
        let module = |path: &str| -> Module {
            path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let texts = texts.iter().map(|(path, text)| (module(path), (*text).to_owned()));
        Self::parsed(texts.collect())
    }

    fn parsed(texts: Vec<(Module, String)>) -> Self {
        let parsed = texts.into_iter().map(|(module, text)| {
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{module:?}: {error}"));
            (module, file)
        });
        let files: BTreeMap<_, _> = parsed.collect();
        let re_exports = files.iter().map(|(module, file)| {
            let mut names = BTreeMap::new();
            for item in &file.items {
                if let syn::Item::Use(it) = item
                    && !matches!(it.vis, syn::Visibility::Inherited)
                {
                    for (name, path) in leaves(&it.tree) {
                        names.insert(name, path);
                    }
                }
            }
            (module.clone(), names)
        });
        let re_exports = re_exports.collect();
        Self { files, re_exports }
    }

    /// The module in which a path named in `from` ends; none if it leaves the crate.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut at = from.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => (at, rest) = (Module::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {}
            name if self.has(&at, name) => {}
            name if self.re_exports[&at].contains_key(name) && depth > 0 => {}
            _ => return None,
        }
        while rest.first().is_some_and(|part| part == "super") {
            at.pop();
            rest = &rest[1..];
        }
        while let Some(name) = rest.first() {
            if self.has(&at, name) {
                at.push(name.clone());
                rest = &rest[1..];
                continue;
            }
            match self.re_exports.get(&at).and_then(|names| names.get(name)) {
                Some(path) if depth < RE_EXPORTS_MAX => {
                    return self.resolve(&at, path, depth + 1).or(Some(at));
                }
                _ => break,
            }
        }
        Some(at)
    }

    fn has(&self, module: &Module, child: &str) -> bool {
        let mut path = module.clone();
        path.push(child.to_owned());
        self.files.contains_key(&path)
    }

    /// Which module names which.
    fn imports(&self) -> BTreeSet<(Module, Module)> {
        let mut imports = BTreeSet::new();
        for (module, file) in &self.files {
            if module.last().is_some_and(|name| name == "tests") {
                continue;
            }
            let mut paths = Paths(Vec::new());
            paths.visit_file(file);
            let targets = paths.0.iter().filter_map(|path| self.resolve(module, path, 0));
            imports.extend(targets.map(|target| (module.clone(), target)));
        }
        imports
    }
}

/// The cycles among siblings, each once, at every level.
fn cycles(of: &Crate) -> Vec<String> {
    let mut siblings: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, to) in of.imports() {
        let level = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        if level < from.len().min(to.len()) {
            let edges = siblings.entry(from[..level].to_vec()).or_default();
            edges.entry(from[level].clone()).or_default().insert(to[level].clone());
        }
    }
    let found = siblings.iter().flat_map(|(parent, edges)| {
        let prefix: String = parent.iter().map(|part| format!("{part}::")).collect();
        rings(edges).into_iter().map(move |ring| {
            let ring: Vec<_> = ring.iter().map(|name| format!("{prefix}{name}")).collect();
            ring.join(" → ")
        })
    });
    found.collect()
}

/// A way round for each first name of one, closed; names that stand in one found already are not
/// begun with again.
fn rings(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    for start in edges.keys() {
        if found.iter().flatten().any(|name| name == start) {
            continue;
        }
        // Breadth first: the shortest way back.
        let mut came_from: BTreeMap<&String, &String> = BTreeMap::new();
        let mut front = vec![start];
        while let Some(name) = (!front.is_empty()).then(|| front.remove(0)) {
            for next in edges.get(name).into_iter().flatten() {
                if !came_from.contains_key(next) {
                    came_from.insert(next, name);
                    front.push(next);
                }
            }
        }
        if came_from.contains_key(start) {
            let mut ring = vec![start.clone()];
            let mut at = came_from[start];
            while at != start {
                ring.push(at.clone());
                at = came_from[at];
            }
            ring.push(start.clone());
            ring.reverse();
            found.push(ring);
        }
    }
    found
}

/// Every path that a file names outside its tests.
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.0.extend(leaves(&item.tree).into_iter().map(|(_, path)| path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if parts.len() > 1 {
            self.0.push(parts);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let tokens = call.tokens.to_string();
        let words: Vec<&str> = tokens
            .split(|letter: char| !letter.is_alphanumeric() && !"_:".contains(letter))
            .filter(|word| !word.is_empty())
            .collect();
        for (at, word) in words.iter().enumerate() {
            if ["crate", "super"].contains(word) {
                let path = words[at..].chunks(2).scan(true, |goes_on, pair| {
                    let now = goes_on.then(|| pair[0].to_owned());
                    *goes_on = pair.get(1) == Some(&"::");
                    now
                });
                self.0.push(path.collect());
            }
        }
        visit::visit_macro(self, call);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && list.tokens.to_string() == "test"
    })
}

/// The names that a `use` brings in, each with its whole path; of a glob, the module.
fn leaves(tree: &syn::UseTree) -> Vec<(String, Vec<String>)> {
    let under = |name: String, tree: &syn::UseTree| {
        let paths = leaves(tree).into_iter();
        paths.map(move |(leaf, path)| (leaf, [vec![name.clone()], path].concat())).collect()
    };
    match tree {
        syn::UseTree::Path(it) => under(it.ident.to_string(), &it.tree),
        syn::UseTree::Group(it) => it.items.iter().flat_map(leaves).collect(),
        syn::UseTree::Name(it) => vec![(it.ident.to_string(), vec![it.ident.to_string()])],
        syn::UseTree::Rename(it) => vec![(it.rename.to_string(), vec![it.ident.to_string()])],
        syn::UseTree::Glob(_) => vec![("*".into(), Vec::new())],
    }
}

/// The `src` folders of the workspace's crates.
fn source_folders() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for top in ["protocol", "model", "node", "bootstrap", "tests"] {
        find_crates(&root().join(top), &mut found);
    }
    found
}

fn find_crates(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("Cargo.toml").exists() && folder.join("src").exists() {
        found.push(folder.join("src"));
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !["src", "target"].iter().any(|name| path.ends_with(name)) {
            find_crates(&path, found);
        }
    }
}

fn collect(root: &Path, folder: &Path, texts: &mut Vec<(Module, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = path.strip_prefix(root).unwrap().with_extension("");
            let parts = module.iter().map(|part| part.to_str().unwrap().to_owned());
            let module: Module = parts.filter(|part| part != "lib" && part != "main").collect();
            texts.push((module, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Re-exports followed from one to the next.
const RE_EXPORTS_MAX: usize = 8;
