//! Draws the graph of the modules in `src/` and refuses what the design forbids.
//!
//! * A module names only modules of its own layer or a lower one, from where they are defined:
//!   not through a re-export at the crate's root, not through `super::super`.
//! * No cycle of modules; rooms that must be strangers are, the journal and the index above all.
//! * Only `kv` names sled, only `codec::bin` names bincode, only `storage` names the system's files, or calls the
//!   methods of a path that look at them.
//! * What ARCHITECTURE.md says exists, exists.
//!
//! What is under `#[cfg(test)]` is free: tests may look wherever they need.

#![allow(clippy::unwrap_used, reason = "a file of the project that cannot be read fails the test")]

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The layers, from the bottom up. A new top-level module gets its place here.
const LAYERS: [&[&str]; 11] = [
    &["value"],
    &["storage", "codec", "sealing", "telemetry"],
    &["journal", "sst", "kv", "keyring"],
    &["index", "views"],
    &["log"],
    &["follow", "doctor"],
    &["model"],
    &["store"],
    &["aio"],
    &["testing"],
    &["book", "renamed"],
];

/// Rooms of one layer, or of two, that must not know each other.
const STRANGERS: [(&str, &str); 11] = [
    ("codec", "sealing"),
    ("sealing", "storage"),
    ("keyring", "journal"),
    ("storage", "codec"),
    ("codec", "storage"),
    ("journal", "sst"),
    ("journal", "kv"),
    ("index", "journal"),
    ("views", "journal"),
    ("follow", "doctor"),
    ("doctor", "follow"),
];

/// Foreign crates, and modules of theirs, that stay in one place of ours.
const WALLED: [(&str, &str); 11] = [
    ("chacha20poly1305", "sealing::cipher"),
    ("metrics", "telemetry"),
    ("sled", "kv"),
    ("crossbeam_epoch", "kv"),
    ("bincode", "codec::bin"),
    ("std::fs", "storage"),
    ("std::os::unix::fs", "storage"),
    ("tempfile", "storage"),
    ("fs2", "storage"),
    ("fs4", "storage"),
    ("rustix", "storage"),
];

/// The methods of a path that look at what is there, and need no import. They stay in `storage`.
const METHODS_OF_PATHS: [&str; 10] = [
    "exists",
    "try_exists",
    "is_dir",
    "is_file",
    "is_symlink",
    "metadata",
    "symlink_metadata",
    "read_dir",
    "read_link",
    "canonicalize",
];
/// What an event has as well, where nothing knows of files.
const METADATA: (&str, &str) = ("metadata", "model");

#[test]
fn the_modules_keep_to_their_layers() {
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    assert!(files.len() > 10, "only {} files found in src/", files.len());
    let complaints = check(&files);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn collect(directory: &Path, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix("src").unwrap().to_str().unwrap().replace('\\', "/");
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// One path that a file names: where, from the root of the crate if it is ours.
struct Mention {
    line: usize,
    path: Vec<String>,
    ours: bool,
}

/// A file of the crate: its module and what it names outside of its tests.
struct Module {
    file: String,
    path: Vec<String>,
    mentions: Vec<Mention>,
    /// The methods of paths that it calls, and where.
    looks: Vec<(usize, String)>,
    complaints: Vec<String>,
}

/// Everything that is wrong with these files (name below `src/`, text), one line each.
fn check(files: &[(String, String)]) -> Vec<String> {
    let names: BTreeSet<Vec<String>> = files.iter().map(|(file, _)| module_of(file)).collect();
    let mut tests_only = BTreeSet::new();
    let mut modules = Vec::new();
    for (file, text) in files {
        let stream: TokenStream = text.parse().unwrap_or_else(|e| panic!("{file}: {e}"));
        let mut scan = Scan {
            names: &names,
            tests_only: &mut tests_only,
            module: Module {
                file: file.clone(),
                path: module_of(file),
                mentions: Vec::new(),
                looks: Vec::new(),
                complaints: Vec::new(),
            },
        };
        let here = scan.module.path.clone();
        scan.walk(stream, &here);
        modules.push(scan.module);
    }
    modules.retain(|module| !tests_only.iter().any(|path| module.path.starts_with(path)));

    let mut complaints = Vec::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in modules {
        complaints.extend(module.complaints.iter().cloned());
        complaints.extend(judge_looks(&module));
        for mention in &module.mentions {
            if mention.ours {
                let target = longest_module(&names, &mention.path);
                if let Some(complaint) = judge(&module, mention, target) {
                    complaints.push(complaint);
                } else if target != module.path {
                    edges.entry(dotted(&module.path)).or_default().insert(dotted(target));
                }
            } else {
                complaints.extend(judge_foreign(&module, mention));
            }
        }
        if !module.path.is_empty() && layer(&module.path).is_none() {
            complaints.push(format!("src/{} has no layer; give it one here", module.file));
        }
    }
    complaints.extend(cycles(&edges));
    complaints
}

fn judge(module: &Module, mention: &Mention, target: &[String]) -> Option<String> {
    let root = module.path.is_empty();
    let (file, line, name) = (&module.file, mention.line, dotted(&mention.path));
    if root || target == module.path {
        return None;
    }
    if target.is_empty() {
        return Some(format!(
            "src/{file}:{line} names crate::{name} by a re-export; import it from where it is defined"
        ));
    }
    let (from, to) = (layer(&module.path)?, layer(target)?);
    if to > from {
        return Some(format!(
            "src/{file}:{line} (layer {from}) names crate::{name} of the higher layer {to}"
        ));
    }
    if STRANGERS.contains(&(module.path[0].as_str(), target[0].as_str())) {
        return Some(format!(
            "src/{file}:{line} names crate::{name}; {} and {} do not know each other",
            module.path[0], target[0]
        ));
    }
    None
}

fn judge_foreign(module: &Module, mention: &Mention) -> Option<String> {
    let is_within = |walled: &str| {
        let mut segments = mention.path.iter();
        walled.split("::").all(|name| segments.next().is_some_and(|segment| segment == name))
    };
    let (name, home) = WALLED.iter().find(|(walled, _)| is_within(walled))?;
    let here = dotted(&module.path);
    if here == *home || here.starts_with(&format!("{home}::")) {
        return None;
    }
    Some(format!("src/{}:{} names {name}; only {home} may", module.file, mention.line))
}

/// What looks at a file without `storage`.
fn judge_looks(module: &Module) -> Vec<String> {
    let room = module.path.first().map_or("", String::as_str);
    let is_free = |name: &str| room == "storage" || (name, room) == METADATA;
    let looks = module.looks.iter().filter(|(_, name)| !is_free(name));
    let complaint = |(line, name): &(usize, String)| {
        format!("src/{}:{line} calls {name} of a path; only storage may", module.file)
    };
    looks.map(complaint).collect()
}

/// One shortest cycle through each module that is on one, without naming a cycle twice.
fn cycles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut told = BTreeSet::new();
    let mut complaints = Vec::new();
    for start in edges.keys() {
        let Some(way) = way_back(start, edges) else { continue };
        if told.insert(way.iter().cloned().collect::<BTreeSet<_>>()) {
            complaints.push(format!("a cycle of modules: {} → {start}", way.join(" → ")));
        }
    }
    complaints
}

/// The modules on a shortest way from `start` back to itself.
fn way_back(start: &str, edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for to in edges.get(at).into_iter().flatten() {
            if to == start {
                let mut way = vec![at.to_owned()];
                while let Some(before) = came_from.get(way[0].as_str()) {
                    way.insert(0, (*before).to_owned());
                }
                return Some(way);
            }
            if !came_from.contains_key(to.as_str()) {
                came_from.insert(to, at);
                queue.push_back(to);
            }
        }
    }
    None
}

/// `log/admit.rs` is `log::admit`, `log/mod.rs` is `log`, `lib.rs` is the root.
fn module_of(file: &str) -> Vec<String> {
    let stem = file.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

fn longest_module<'a>(names: &BTreeSet<Vec<String>>, path: &'a [String]) -> &'a [String] {
    (0..=path.len()).rev().map(|n| &path[..n]).find(|p| names.contains(*p)).unwrap_or(&[])
}

fn layer(path: &[String]) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&path[0].as_str()))
}

fn dotted(path: &[String]) -> String {
    if path.is_empty() { "the crate's root".to_owned() } else { path.join("::") }
}

/// Reads one file's tokens.
struct Scan<'a> {
    names: &'a BTreeSet<Vec<String>>,
    tests_only: &'a mut BTreeSet<Vec<String>>,
    module: Module,
}

impl Scan<'_> {
    fn walk(&mut self, stream: TokenStream, here: &[String]) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_test_attribute(&tokens[at..]) {
                at = self.skip_item(&tokens, at, here);
                continue;
            }
            match &tokens[at] {
                TokenTree::Group(group) => self.walk(group.stream(), here),
                TokenTree::Ident(ident) if ident == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(at + 1), tokens.get(at + 2))
                    {
                        let inner = [here, &[name.to_string()]].concat();
                        self.walk(body.stream(), &inner);
                        at += 2;
                    }
                }
                TokenTree::Ident(ident) if is_look(&tokens, at) => {
                    let line = ident.span().start().line;
                    self.module.looks.push((line, ident.to_string()));
                }
                TokenTree::Ident(_) if starts_path(&tokens, at) => {
                    at = self.path(&tokens, at, here);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Takes the path, or the tree of paths, that begins at `at`; returns where it ends.
    fn path(&mut self, tokens: &[TokenTree], at: usize, here: &[String]) -> usize {
        let line = tokens[at].span().start().line;
        let mut paths = Vec::new();
        let end = paths_from(tokens, at, &mut Vec::new(), &mut paths);
        for path in paths {
            self.mention(path, line, here);
        }
        end
    }

    fn mention(&mut self, path: Vec<String>, line: usize, here: &[String]) {
        let (base, rest): (Vec<String>, &[String]) = match path[0].as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (here.to_vec(), &path[1..]),
            "super" => {
                let ups = path.iter().take_while(|segment| *segment == "super").count();
                if ups > 1 {
                    let file = &self.module.file;
                    let complaint = format!("src/{file}:{line} names super::super; say crate::…");
                    self.module.complaints.push(complaint);
                }
                (here[..here.len().saturating_sub(ups)].to_vec(), &path[ups..])
            }
            first if self.names.contains(&[here, &[first.to_owned()]].concat()) => {
                (here.to_vec(), &path[..])
            }
            _ => {
                if let [.., owner, method] = &path[..]
                    && ["Path", "PathBuf"].contains(&owner.as_str())
                    && METHODS_OF_PATHS.contains(&method.as_str())
                {
                    self.module.looks.push((line, method.clone()));
                }
                self.module.mentions.push(Mention { line, path, ours: false });
                return;
            }
        };
        let path = [&base, rest].concat();
        self.module.mentions.push(Mention { line, path, ours: true });
    }

    /// Passes over the item after a `#[cfg(test)]`, and remembers a whole file of tests.
    fn skip_item(&mut self, tokens: &[TokenTree], mut at: usize, here: &[String]) -> usize {
        while is_punct(tokens.get(at), '#') {
            at += 2;
        }
        let rest = &tokens[at..];
        let is_visibility = |token: &&TokenTree| match token {
            TokenTree::Ident(ident) => ident == "pub",
            TokenTree::Group(group) => group.delimiter() == Delimiter::Parenthesis,
            _ => false,
        };
        let keyword = rest.iter().find(|token| !is_visibility(token));
        let is_use = matches!(keyword, Some(TokenTree::Ident(ident)) if ident == "use");
        let module = rest.iter().position(|t| matches!(t, TokenTree::Ident(i) if i == "mod"));
        let end = rest.iter().position(|token| match token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !is_use,
            _ => false,
        });
        let end = end.unwrap_or(rest.len());
        if let Some(module) = module.filter(|module| *module < end)
            && is_punct(rest.get(end), ';')
        {
            let name = rest[module + 1].to_string();
            self.tests_only.insert([here, &[name]].concat());
        }
        at + end + 1
    }
}

/// `.exists()`, or another call without arguments of a method that paths have.
fn is_look(tokens: &[TokenTree], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|i| tokens.get(i));
    let is_method = METHODS_OF_PATHS.contains(&tokens[at].to_string().as_str());
    let is_empty_call = matches!(
        tokens.get(at + 1),
        Some(TokenTree::Group(group))
            if group.delimiter() == Delimiter::Parenthesis && group.stream().is_empty()
    );
    is_method && is_empty_call && is_punct(before, '.')
}

/// `crate::…`, `anything::…`, or what follows `use`; not the middle of a path.
fn starts_path(tokens: &[TokenTree], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|i| tokens.get(i));
    let is_name = |t: Option<&TokenTree>, n: &str| matches!(t, Some(TokenTree::Ident(i)) if i == n);
    if is_name(tokens.get(at), "use") || is_punct(before, '.') {
        return false;
    }
    is_name(before, "use") || is_colons(tokens, at + 1)
}

/// All paths of the tree at `at`, each with `prefix` before it; returns where the tree ends.
fn paths_from(
    tokens: &[TokenTree],
    mut at: usize,
    prefix: &mut Vec<String>,
    out: &mut Vec<Vec<String>>,
) -> usize {
    let depth = prefix.len();
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => prefix.push(ident.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in inner.split(|token| is_punct(Some(token), ',')) {
                    if !branch.is_empty() {
                        paths_from(branch, 0, prefix, out);
                    }
                }
                prefix.truncate(depth);
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if !is_colons(tokens, at) {
            break;
        }
        at += 2;
    }
    // `use a::b::{self}` names a::b.
    if depth > 0 && prefix.last().is_some_and(|last| last == "self") {
        prefix.pop();
    }
    if !prefix.is_empty() {
        out.push(prefix.clone());
    }
    prefix.truncate(depth);
    at
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

fn is_punct(token: Option<&TokenTree>, char: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

/// `#[cfg(test)]`, `#[cfg(all(test, …))]`; not `#[cfg(not(test))]`.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(group)) = tokens.get(1) else { return false };
    let text = group.stream().to_string().replace(' ', "");
    is_punct(tokens.first(), '#') && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

#[test]
fn every_path_that_architecture_md_names_exists() {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let paths = paths_named(&text);
    assert!(paths.len() > 20, "only {} paths found", paths.len());
    let missing: Vec<_> = paths.iter().filter(|path| !Path::new(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what does not exist: {missing:?}");
}

/// What is in backticks and looks like a path of the project, and what links point at.
fn paths_named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let quoted = quoted.filter(|word| word.contains('/') && !word.contains([' ', '<', '\n']));
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    quoted.chain(linked.filter(|link| !link.contains("://"))).collect()
}

// ---- the checker itself can fail: each tree below has one fault -------------------------------

/// What `check` says of a tree that also holds an innocent module of every layer.
fn complaints_about(files: &[(&str, &str)]) -> Vec<String> {
    let innocent = [
        ("lib.rs", "mod value; mod codec; pub use value::error::Error; use codec::bin;"),
        ("value/mod.rs", "pub(crate) mod error;"),
        ("value/error.rs", "pub struct Error; #[cfg(test)] mod tests { use crate::store::Store; }"),
        ("codec/mod.rs", "pub(crate) mod bin;"),
        ("codec/bin.rs", "use bincode::config; use crate::value::error::Error;"),
        (
            "journal/mod.rs",
            "fn f(e: crate::value::error::Error) {} // crate::store::Store is only a comment",
        ),
        ("kv/mod.rs", "use sled::Tree; const TEXT: &str = \"crate::store::Store\";"),
        ("index/mod.rs", "use crate::kv;"),
        ("log/mod.rs", "use crate::{journal::read, index::{self, runs}};"),
        ("store.rs", "use crate::log::Log; use crate::codec::bin::encode as write;"),
    ];
    let mut tree: BTreeMap<&str, &str> = innocent.into();
    tree.extend(files.iter().copied());
    let tree: Vec<_> = tree.into_iter().map(|(f, t)| (f.to_owned(), t.to_owned())).collect();
    check(&tree)
}

#[track_caller]
fn refuses(file: &str, text: &str, because: &str) {
    let complaints = complaints_about(&[(file, text)]);
    let found = complaints.len() == 1 && complaints[0].contains(because);
    assert!(found, "{text:?} in {file} should be refused once, with {because:?}: {complaints:?}");
}

#[test]
fn a_tree_without_a_fault_passes() {
    assert_eq!(complaints_about(&[]), Vec::<String>::new());
}

#[test]
fn an_arrow_up_is_refused() {
    refuses(
        "codec/mod.rs",
        "use crate::log::Log;",
        "src/codec/mod.rs:1 (layer 1) names crate::log",
    );
    refuses(
        "value/error.rs",
        "\nfn f() { crate::store::open() }",
        "src/value/error.rs:2 (layer 0)",
    );
    refuses("journal/mod.rs", "use crate::{codec::bin as b, store::{x}};", "crate::store::x");
    refuses("journal/write.rs", "macro_rules! m { () => { $crate::store::x() } }", "layer 7");
    refuses("journal/write.rs", "use super::super::value::error::Error;", "super::super");
}

#[test]
fn a_use_beside_tests_is_not_excused_by_them() {
    refuses("value/error.rs", "#[cfg(test)] mod t { } use crate::log::Log;", "layer 4");
    refuses(
        "value/error.rs",
        "#[cfg(test)] use crate::store::{Store}; use crate::log::Log;",
        "layer 4",
    );
    refuses("value/error.rs", "#[cfg(not(test))] use crate::log::Log;", "layer 4");
}

#[test]
fn a_file_of_tests_is_excused() {
    let files = [
        ("value/error.rs", "#[cfg(test)] mod checks;"),
        ("value/error/checks.rs", "use crate::log::Log;"),
    ];
    assert_eq!(complaints_about(&files), Vec::<String>::new());
}

#[test]
fn rooms_that_are_strangers_stay_so() {
    refuses("journal/read.rs", "use crate::kv;", "do not know each other");
    refuses("index/runs.rs", "use crate::journal;", "do not know each other");
}

#[test]
fn an_import_through_the_root_is_refused() {
    refuses("store.rs", "use crate::Error;", "by a re-export");
    refuses("codec/bin.rs", "fn f() -> crate::Result<()> { }", "by a re-export");
}

#[test]
fn a_cycle_is_refused() {
    let complaints = complaints_about(&[
        ("log/admit.rs", "use crate::log::group::Group;"),
        ("log/group.rs", "use super::admit::admit;"),
    ]);
    assert_eq!(complaints, ["a cycle of modules: log::admit → log::group → log::admit"]);
}

#[test]
fn a_foreign_crate_outside_its_wall_is_refused() {
    refuses("store.rs", "use sled::Db;", "src/store.rs:1 names sled; only kv may");
    refuses("codec/frame.rs", "fn f() { bincode::encode() }", "only codec::bin may");
    refuses("log/tail.rs", "use sled;", "only kv may");
    let storage = "names std::fs; only storage may";
    refuses("store.rs", "use std::fs;", storage);
    refuses("index/mod.rs", "use std::{fs::File, io};", storage);
    refuses("kv/files.rs", "fn f() { std::fs::remove_file(p) }", storage);
    refuses("sst/reader.rs", "use std::os::unix::fs::FileExt;", "names std::os::unix::fs;");
    refuses("store/scratch.rs", "use tempfile::TempDir;", "names tempfile; only storage may");
    refuses("journal/read.rs", "use fs2::FileExt;", "only storage may");
}

/// A method of a path needs no import: files were looked at in eight rooms that named no `std::fs`.
#[test]
fn a_look_at_a_file_outside_its_wall_is_refused() {
    refuses("store.rs", "fn f(p: &Path) { p.exists() }", "src/store.rs:1 calls exists of a path;");
    refuses("index/mod.rs", "fn f() { g(a.join(b).metadata()?.len()) }", "calls metadata");
    refuses("kv/files.rs", "fn f() -> bool { matches!(p.read_dir(), Ok(_)) }", "calls read_dir");
    refuses("log/tail.rs", "fn f() { paths.iter().all(Path::is_dir) }", "calls is_dir");
    refuses("store.rs", "fn f() { std::path::Path::canonicalize(p) }", "calls canonicalize");
    let innocent = [
        ("storage/disk.rs", "fn f(p: &Path) -> bool { p.exists() && Path::is_file(p) }"),
        ("store.rs", "fn f(e: NewEvent) { e.metadata(m); exists(); is_dir(p) }"),
        ("model/process.rs", "fn f() { new.metadata(cause.metadata()) }"),
        ("log/tail.rs", "#[cfg(test)] mod tests { fn f() { p.exists() } }"),
    ];
    assert_eq!(complaints_about(&innocent), Vec::<String>::new());
}

#[test]
fn what_is_walled_may_be_named_within_its_wall_and_by_tests() {
    let files = [
        (
            "storage/disk.rs",
            "use std::fs::File; use std::os::unix::fs::FileExt; use tempfile::TempDir;",
        ),
        ("store.rs", "use std::io; #[cfg(test)] mod tests { use std::fs; }"),
        ("log/tail.rs", "use std::os::unix::ffi::OsStrExt;"),
    ];
    assert_eq!(complaints_about(&files), Vec::<String>::new());
}

#[test]
fn a_module_without_a_layer_is_refused() {
    refuses("surprise.rs", "", "src/surprise.rs has no layer");
}

#[test]
fn paths_are_found_in_backticks_and_in_links() {
    let text = "See `src/log` and [the tests](tests/it/architecture.rs), not `admit`, `a / b` or \
                [elsewhere](https://example.org/x).";
    assert_eq!(paths_named(text), ["src/log", "tests/it/architecture.rs"].into());
}
