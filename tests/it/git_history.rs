//! The example `git_history` agrees with git, on repositories made to be awkward.

#![allow(clippy::unwrap_used, reason = "a helper of these tests that fails, fails the test")]

#[allow(dead_code, reason = "the example's own main is not called here")]
#[path = "../../examples/git_history/main.rs"]
mod example;

use example::cli::Options;
use example::events::{CommitEvent, FileEvent};
use example::model::LinesPerFile;
use example::names::{commit_stream, file_stream};
use example::take::{PartLimits, Progress, take};
use filmstrip::{Position, Store};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A git repository, and a store beside it.
struct Scene {
    directory: TempDir,
    /// What the clock of git shows; it advances with each commit.
    seconds: u64,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene { directory: tempfile::tempdir().unwrap(), seconds: 1_000_000_000 };
        fs::create_dir(scene.repository()).unwrap();
        scene.git(["init", "--quiet", "--initial-branch=main"]);
        scene
    }

    fn repository(&self) -> PathBuf {
        self.directory.path().join("repository")
    }

    fn options(&self) -> Options {
        let store = self.directory.path().join("store");
        Options { store, check: true, ..Options::new(self.repository()) }
    }

    fn git<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Vec<u8> {
        let date = format!("{} +0000", self.seconds);
        let output = Command::new("git")
            .arg("-C")
            .arg(self.repository())
            .args(["-c", "user.name=Zoë", "-c", "user.email=zoe@example.org"])
            .args(["-c", "commit.gpgSign=false", "-c", "core.autocrlf=false"])
            .args(arguments)
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .output()
            .unwrap();
        assert!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn ask<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        String::from_utf8(self.git(arguments)).unwrap().trim_end().to_owned()
    }

    fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.repository().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn commit(&mut self, message: &str) -> String {
        self.seconds += 3_600;
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "--message", message]);
        self.ask(["rev-parse", "HEAD"])
    }

    /// What the example prints, or how it fails.
    fn run(&self, options: &Options) -> Result<String, String> {
        let mut out = Vec::new();
        let done = example::run(options, &mut out).map_err(|failure| failure.to_string());
        done.map(|()| String::from_utf8(out).unwrap())
    }

    fn store(&self) -> Store {
        Store::open(self.options().store).unwrap()
    }

    /// What git says of a commit, asked as plainly as can be: path and lines of text files.
    fn lines_by_git(&self, commit: &str) -> BTreeMap<Vec<u8>, Option<u64>> {
        let empty = self.ask(["hash-object", "-t", "tree", "/dev/null"]);
        let output = self.git(["diff", "--no-renames", "--numstat", "-z", &empty, commit]);
        let files = output.split(|byte| *byte == 0).filter(|file| !file.is_empty());
        files
            .map(|file| {
                let mut fields = file.splitn(3, |byte| *byte == b'\t');
                let added = String::from_utf8(fields.next().unwrap().to_owned()).unwrap();
                (fields.nth(1).unwrap().to_owned(), added.parse().ok())
            })
            .collect()
    }

    /// The model as of a git commit has exactly git's files, with git's lines.
    #[track_caller]
    fn agrees_with_git(&self, store: &Store, commit: &str) {
        let model = LinesPerFile::as_of(store, end_of(store, commit)).unwrap();
        let by_us: BTreeMap<String, Option<u64>> =
            model.existing().map(|(name, file)| (name.to_owned(), file.lines)).collect();
        let by_git = self.lines_by_git(commit).into_iter();
        let by_git = by_git.map(|(path, lines)| (example::names::name(&path), lines)).collect();
        assert_eq!(by_us, by_git, "at {commit}");
    }

    /// All first-parent commits, the oldest first.
    fn commits(&self) -> Vec<String> {
        let list = self.ask(["rev-list", "--first-parent", "--reverse", "HEAD"]);
        list.lines().map(str::to_owned).collect()
    }
}

fn end_of(store: &Store, commit: &str) -> Position {
    example::position_of(store, commit).unwrap()
}

fn lines(count: usize) -> String {
    (1..=count).map(|line| format!("line {line}\n")).collect()
}

/// Text, binary and neither; odd names; deletions, returns and merges.
fn awkward() -> Scene {
    let mut scene = Scene::new();
    scene.write("text", lines(10));
    scene.write("empty", "");
    scene.write("no newline at the end", "one\ntwo");
    scene.write("binary", b"\0\x01\x02");
    scene.write("becomes text", b"\0");
    scene.write("becomes binary", lines(3));
    scene.write("dir/a\"quoted\" \\ 100% 漢字", lines(4));
    scene.write("dir/tab\tand\nnewline", lines(5));
    scene.write("-", lines(1));
    scene.write(":(literal)x", b"\0magic");
    let long: PathBuf = (0..8).map(|_| "é".repeat(100)).collect();
    scene.write(long.join("one"), lines(6));
    scene.write(long.join("other"), lines(7));
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        scene.write(OsStr::from_bytes(b"caf\xe9\x01"), lines(8));
        scene.write(OsStr::from_bytes(b"caf\xe8\x01"), b"\0was binary");
        std::os::unix::fs::symlink("text", scene.repository().join("link")).unwrap();
    }
    scene.commit("The root");

    scene.commit("Nothing at all");
    scene.write("text", lines(12).replace("line 3\n", ""));
    scene.write("becomes text", lines(9));
    scene.write("becomes binary", b"\0\0");
    scene.write(":(literal)x", lines(2));
    scene.write(long.join("one"), b"\0");
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        scene.write(OsStr::from_bytes(b"caf\xe8\x01"), lines(3));
        fs::remove_file(scene.repository().join("link")).unwrap();
        scene.write("link", lines(2));
    }
    scene.commit("Text to binary and back, a link to a file");

    scene.git(["update-index", "--chmod=+x", "text"]);
    scene.git(["commit", "--quiet", "--message", "Only a mode"]);
    let head = scene.ask(["rev-parse", "HEAD"]);
    scene.git(["update-index", "--add", "--cacheinfo", &format!("160000,{head},module")]);
    scene.git(["commit", "--quiet", "--message", "A submodule"]);
    scene.git(["update-index", "--force-remove", "module"]);

    fs::remove_file(scene.repository().join("empty")).unwrap();
    fs::remove_file(scene.repository().join("text")).unwrap();
    scene.commit("Delete");
    scene.write("text", lines(2));
    scene.write("becomes binary", lines(1));
    scene.commit("Come back");

    // A merge whose outcome is neither side, one that changes nothing, and one of three branches.
    scene.git(["checkout", "--quiet", "-b", "side"]);
    scene.write("text", lines(40));
    scene.write("of the side", lines(5));
    scene.commit("On the side");
    scene.git(["checkout", "--quiet", "main"]);
    scene.write("text", lines(3));
    scene.commit("On main");
    scene.git(["merge", "--quiet", "--no-commit", "--strategy=ours", "side"]);
    scene.write("text", lines(21));
    scene.write("of the merge", lines(2));
    scene.commit("A merge of its own mind");
    scene.git(["checkout", "--quiet", "side"]);
    scene.write("ignored", lines(2));
    scene.commit("To be ignored");
    scene.git(["checkout", "--quiet", "main"]);
    scene.git(["merge", "--quiet", "--strategy=ours", "--message", "Ignore it", "side"]);
    for branch in ["left", "right"] {
        scene.git(["checkout", "--quiet", "-b", branch, "main"]);
        scene.write(branch, lines(4));
        scene.commit(branch);
    }
    scene.git(["checkout", "--quiet", "main"]);
    scene.write("main", lines(1));
    scene.commit("main");
    scene.git(["merge", "--quiet", "--message", "Both", "left", "right"]);
    scene
}

#[test]
fn every_file_has_gits_lines_now_and_as_of_every_commit() {
    let scene = awkward();
    let out = scene.run(&scene.options()).unwrap();
    assert!(out.contains("are as git counts them"), "{out}");
    let store = scene.store();
    let commits = scene.commits();
    assert!(commits.len() > 10);
    for commit in &commits {
        scene.agrees_with_git(&store, commit);
    }
}

#[test]
fn a_second_run_takes_in_only_what_is_new() {
    let mut scene = awkward();
    scene.run(&scene.options()).unwrap();
    let before = scene.store().head();
    let out = scene.run(&scene.options()).unwrap();
    assert!(out.contains("Nothing new to take in"), "{out}");
    assert_eq!(scene.store().head(), before);

    scene.write("text", lines(30));
    scene.write("new", lines(1));
    scene.commit("Two files");
    scene.commit("None");
    let out = scene.run(&scene.options()).unwrap();
    assert!(out.contains("Took in 2 new git commits with 2 changes of files"), "{out}");
    let store = scene.store();
    assert_eq!(
        store.head().get(),
        before.get() + 4,
        "two files, and one event for each git commit"
    );
    for commit in &scene.commits() {
        scene.agrees_with_git(&store, commit);
    }
}

#[test]
fn a_git_commit_is_one_commit_of_the_store_at_the_time_it_was_made() {
    let mut scene = Scene::new();
    scene.write("a", lines(1));
    scene.write("b", lines(2));
    let id = scene.commit("Two at once");
    scene.run(&scene.options()).unwrap();
    let store = scene.store();
    let events: Vec<_> = store.read_all().iter().unwrap().map(Result::unwrap).collect();
    let streams: Vec<_> = events.iter().map(|event| event.stream.clone()).collect();
    let commit = commit_stream(&id).unwrap();
    assert_eq!(streams, [file_stream(b"a").unwrap(), file_stream(b"b").unwrap(), commit]);
    assert_eq!(events[1].decode::<FileEvent>().unwrap(), FileEvent::FileAdded { lines: Some(2) });
    let taken = CommitEvent::CommitTaken {
        parent: None,
        files: 2,
        author: "Zoë".to_owned(),
        subject: "Two at once".to_owned(),
    };
    assert_eq!(events[2].decode::<CommitEvent>().unwrap(), taken);
    for event in &events {
        assert_eq!(event.occurred_at.timestamp(), scene.seconds as i64);
        assert_eq!(event.recorded_at, events[0].recorded_at);
    }
}

#[test]
fn a_stop_in_the_middle_of_a_large_git_commit_loses_nothing_and_takes_nothing_twice() {
    let mut scene = Scene::new();
    for file in 0..10 {
        scene.write(format!("{file}"), lines(file));
    }
    scene.commit("Ten files");
    scene.write("9", lines(1));
    scene.commit("One file");
    // Three events in a part: two files, and the git commit's own.
    let limits = PartLimits { events: 3, ..PartLimits::default() };
    let (git, head) = {
        let git = example::git::Git::open(&scene.repository()).unwrap();
        let head = git.head().unwrap();
        (git, head)
    };
    let store = scene.store();
    let mut runs = 0;
    loop {
        runs += 1;
        let mut commits_of_the_store = 0;
        let taken = take(&store, &git, &head, limits, &mut |_: Progress| {
            commits_of_the_store += 1;
            if commits_of_the_store > 2 { Err("stopped".into()) } else { Ok(()) }
        });
        if taken.is_ok() {
            break;
        }
        assert!(runs < 20, "{taken:?}");
    }
    assert!(runs > 2, "it was to be stopped several times");
    assert_eq!(
        store.head().get(),
        10 + 5 + 1 + 1,
        "files and parts of the first, and of the second"
    );
    for commit in &scene.commits() {
        scene.agrees_with_git(&store, commit);
    }
    let ten = &scene.commits()[0];
    let own: Vec<_> = store.read_stream(commit_stream(ten).unwrap()).iter().unwrap().collect();
    assert_eq!(own.len(), 5);
}

#[test]
fn a_rewritten_history_is_refused_with_advice() {
    let mut scene = Scene::new();
    scene.write("a", lines(1));
    scene.commit("First");
    scene.write("a", lines(2));
    scene.commit("Second");
    scene.run(&scene.options()).unwrap();
    let head = scene.store().head();

    scene.git(["commit", "--quiet", "--amend", "--message", "Second, but other"]);
    let error = scene.run(&scene.options()).unwrap_err();
    assert!(error.contains("was rewritten") && error.contains("--store"), "{error}");

    assert_eq!(scene.store().head(), head, "nothing was written");
}

#[test]
fn an_older_commit_checked_out_is_told_from_a_rewritten_history() {
    let mut scene = Scene::new();
    scene.commit("First");
    scene.commit("Second");
    scene.run(&scene.options()).unwrap();
    scene.git(["reset", "--quiet", "--hard", "HEAD~1"]);
    let error = scene.run(&scene.options()).unwrap_err();
    assert!(error.contains("the store is ahead"), "{error}");
}

#[test]
fn a_history_that_became_a_second_parent_is_refused() {
    let mut scene = Scene::new();
    scene.commit("First");
    scene.git(["checkout", "--quiet", "-b", "side"]);
    scene.write("side", lines(1));
    scene.commit("On the side");
    scene.git(["checkout", "--quiet", "main"]);
    scene.commit("On main");
    scene.run(&scene.options()).unwrap();
    // Now `side` is the first parent, and what was taken in only the second.
    scene.git(["checkout", "--quiet", "side"]);
    scene.git(["merge", "--quiet", "--message", "The other way round", "main"]);
    let error = scene.run(&scene.options()).unwrap_err();
    assert!(error.contains("first-parent history"), "{error}");
}

#[test]
fn another_repository_for_the_same_store_is_refused() {
    let mut scene = Scene::new();
    scene.commit("First");
    scene.run(&scene.options()).unwrap();
    let mut other = Scene::new();
    other.write("other", lines(1));
    other.commit("Of another repository");
    let options = Options { store: scene.options().store, ..other.options() };
    let error = other.run(&options).unwrap_err();
    assert!(error.contains("does not have"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let mut scene = Scene::new();
    let error = scene.run(&scene.options()).unwrap_err();
    assert!(error.contains("has no commits yet"), "{error}");

    scene.write("a", lines(1));
    scene.commit("First");
    scene.commit("Second");
    for (options, says) in [
        (Options { as_of: Some("no-such".into()), ..scene.options() }, "no commit \"no-such\""),
        (Options { film: Some("no-such".into()), ..scene.options() }, "no file \"no-such\""),
        (Options::new(scene.directory.path()), "cannot be read as a git repository"),
        (
            Options::new(scene.directory.path().join("nowhere")),
            "cannot be read as a git repository",
        ),
    ] {
        let error = scene.run(&options).unwrap_err();
        assert!(error.contains(says), "{error}");
    }

    let shallow = scene.directory.path().join("shallow");
    let source = format!("file://{}", scene.repository().display());
    let target = shallow.to_str().unwrap();
    scene.git(["clone", "--quiet", "--depth=1", &source, target]);
    let options = Options { repository: shallow, ..scene.options() };
    let error = scene.run(&options).unwrap_err();
    assert!(error.contains("shallow") && error.contains("--unshallow"), "{error}");
}

#[test]
fn a_commit_of_another_branch_has_no_place_in_the_film() {
    let mut scene = Scene::new();
    scene.commit("First");
    scene.git(["checkout", "--quiet", "-b", "side"]);
    scene.commit("On the side");
    scene.git(["checkout", "--quiet", "main"]);
    let options = Options { as_of: Some("side".into()), ..scene.options() };
    let error = scene.run(&options).unwrap_err();
    assert!(error.contains("not on the first-parent history"), "{error}");
}

#[test]
fn the_answers_can_be_read_by_a_person() {
    let mut scene = Scene::new();
    scene.write("small", lines(1));
    scene.write("large", lines(2_000));
    scene.commit("Add both");
    scene.write("large", lines(3));
    scene.commit("Cut the large one");
    let options = Options {
        as_of: Some("HEAD~1".into()),
        film: Some("large".into()),
        top: 1,
        ..scene.options()
    };
    let out = scene.run(&options).unwrap();
    let position = end_of(&scene.store(), &scene.commits()[0]);
    assert!(
        out.contains("The largest of 2 files, now:\n       lines  file\n           3  large\n"),
        "{out}"
    );
    let then =
        format!("as of HEAD~1 (position {position}):\n       lines  file\n       2,000  large\n");
    assert!(out.contains(&then), "{out}");
    assert!(out.contains("     changes  file\n           2  large\n"), "{out}");
    assert!(out.contains("     2,000  added: Add both (Zoë)\n"), "{out}");
    assert!(out.contains("3  +0 −1997: Cut the large one (Zoë)\n"), "{out}");
}

#[test]
fn a_directory_within_the_repository_and_the_users_settings_change_nothing() {
    let mut scene = Scene::new();
    scene.write("dir/binary", b"\0");
    scene.write("text", lines(3));
    scene.commit("First");
    scene.write("dir/binary", lines(2));
    scene.git(["mv", "text", "moved"]);
    scene.commit("Second");
    for (key, value) in [
        ("diff.renames", "copies"),
        ("diff.relative", "true"),
        ("diff.noprefix", "true"),
        ("diff.orderFile", "no-such-file"),
        ("log.showRoot", "false"),
        ("log.showSignature", "true"),
        ("log.diffMerges", "off"),
        ("log.follow", "true"),
        ("color.ui", "always"),
        ("i18n.logOutputEncoding", "latin1"),
    ] {
        scene.git(["config", key, value]);
    }
    let options = Options { repository: scene.repository().join("dir"), ..scene.options() };
    let out = scene.run(&options).unwrap();
    assert!(out.contains("Checked: 2 text files with 5 lines, and 0 binary ones"), "{out}");
    let store = scene.store();
    let commits: Vec<_> = store.read_all().category("Commit").iter().unwrap().collect();
    assert_eq!(commits.len(), 2);
}

#[test]
fn a_bare_repository_will_do() {
    let scene = awkward();
    let bare = scene.directory.path().join("bare");
    let source = scene.repository();
    scene.git(["clone", "--quiet", "--bare", source.to_str().unwrap(), bare.to_str().unwrap()]);
    let out = scene.run(&Options { repository: bare, ..scene.options() }).unwrap();
    assert!(out.contains("are as git counts them"), "{out}");
}
