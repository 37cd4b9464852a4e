//! Asks git. Every question is one process, and every answer is checked.
//!
//! The user's configuration must not change an answer: renames, external diffs, path orders and
//! colours are switched off by name, and a `GIT_DIR` of the surroundings is not passed on.

use super::Failure;
use super::parse::{self, FORMAT, Log};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Paths in one command line; systems allow far more.
const PATHS_AT_ONCE: usize = 500;

/// How git is to compare; also what makes its numbers comparable between two commands.
const COMPARE: [&str; 9] = [
    "--no-renames",
    "--numstat",
    "-z",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-relative",
    "--ignore-submodules=none",
    "-O/dev/null",
];

/// A file at some commit: its path, and its lines unless git calls it binary.
pub(crate) type FileLines = (Vec<u8>, Option<u64>);

/// A git repository with its whole history.
pub(crate) struct Git {
    path: PathBuf,
    /// The id of the tree without files, in the repository's kind of hash.
    empty_tree: String,
}

impl Git {
    /// The repository at `path`, or why it cannot serve.
    pub(crate) fn open(path: &Path) -> Result<Git, Failure> {
        let mut git = Git { path: path.to_owned(), empty_tree: String::new() };
        let shallow = git.ask(["rev-parse", "--is-shallow-repository"]).map_err(|cause| {
            format!("{} cannot be read as a git repository: {cause}", path.display())
        })?;
        if shallow == "true" {
            return Err(format!(
                "{} is a shallow clone, so the older part of its history is missing; \
                 run `git fetch --unshallow` in it first",
                path.display()
            )
            .into());
        }
        git.empty_tree = git.ask(["hash-object", "-t", "tree", "--stdin"])?;
        Ok(git)
    }

    /// The id of the commit that is checked out.
    pub(crate) fn head(&self) -> Result<String, Failure> {
        self.commit(OsStr::new("HEAD")).map_err(|_| {
            format!("{} has no commits yet, so it has no history to take in", self.path.display())
                .into()
        })
    }

    /// The id of the commit that `revision` names.
    pub(crate) fn commit(&self, revision: &OsStr) -> Result<String, Failure> {
        let mut name = revision.to_owned();
        name.push("^{commit}");
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
        let arguments = arguments.iter().map(OsString::from).chain([name]);
        self.ask(arguments).map_err(|_| {
            let revision = revision.to_string_lossy();
            format!("{} has no commit {revision:?}", self.path.display()).into()
        })
    }

    /// Whether `older` is `newer`, or one of those before it.
    pub(crate) fn is_ancestor(&self, older: &str, newer: &str) -> Result<bool, Failure> {
        let arguments = ["merge-base", "--is-ancestor", older, newer];
        let output = self.command(arguments).output().map_err(|error| not_started(&error))?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(said(&output.stderr).into()),
        }
    }

    /// How many commits `log` will give.
    pub(crate) fn count(&self, after: Option<&str>, until: &str) -> Result<u64, Failure> {
        let count = self.ask(["rev-list", "--count", "--first-parent", &range(after, until)])?;
        Ok(count.parse()?)
    }

    /// The first-parent history after one commit up to another, oldest first, read as git writes it.
    pub(crate) fn log(&self, after: Option<&str>, until: &str) -> Result<RunningLog, Failure> {
        // `--diff-merges=first-parent` is what `-m --first-parent` means, whatever `log.diffMerges` says.
        let arguments = [
            "-c",
            "log.showRoot=true",
            "-c",
            "log.showSignature=false",
            "log",
            "--first-parent",
            "--diff-merges=first-parent",
            "--reverse",
            "--raw",
            "--no-abbrev",
            "--encoding=UTF-8",
            FORMAT,
        ];
        let range = range(after, until);
        let all = arguments.iter().chain(&COMPARE).copied().chain([range.as_str(), "--"]);
        // Git's complaints, if any, go to the terminal as they come.
        let mut child = self
            .command(all)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| not_started(&error))?;
        let output = child.stdout.take().ok_or("git's output cannot be read")?;
        let log = Log::new(BufReader::with_capacity(256 * 1024, output));
        Ok(RunningLog { child, log })
    }

    /// All files of a commit with their lines: the numbers that the read model must agree with.
    pub(crate) fn files(&self, commit: &str) -> Result<Vec<FileLines>, Failure> {
        self.compare_with_nothing(commit, &[])
    }

    /// The lines of some files of a commit.
    pub(crate) fn lines(&self, commit: &str, paths: &[&[u8]]) -> Result<Vec<FileLines>, Failure> {
        let mut lines = Vec::new();
        for paths in paths.chunks(PATHS_AT_ONCE) {
            lines.extend(self.compare_with_nothing(commit, paths)?);
        }
        Ok(lines)
    }

    fn compare_with_nothing(
        &self,
        commit: &str,
        paths: &[&[u8]],
    ) -> Result<Vec<FileLines>, Failure> {
        let fixed = ["diff"].iter().chain(&COMPARE).copied();
        let fixed = fixed.chain([self.empty_tree.as_str(), commit, "--"]).map(OsString::from);
        let paths = paths.iter().map(|path| from_bytes(&[b":(top,literal)", *path].concat()));
        let output = self.run(fixed.chain(paths))?;
        Ok(parse::numstat(&output)?)
    }

    /// One line of answer.
    fn ask(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String, Failure> {
        let output = self.run(arguments)?;
        Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
    }

    fn run(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Vec<u8>, Failure> {
        let output = self.command(arguments).output().map_err(|error| not_started(&error))?;
        if output.status.success() { Ok(output.stdout) } else { Err(said(&output.stderr).into()) }
    }

    fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new("git");
        for variable in
            ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"]
        {
            command.env_remove(variable);
        }
        command.arg("-C").arg(&self.path).args(arguments).stdin(Stdio::null());
        command
    }
}

/// `git log` while it runs. Stopped when it is dropped.
pub(crate) struct RunningLog {
    child: Child,
    log: Log<BufReader<ChildStdout>>,
}

impl Iterator for RunningLog {
    type Item = Result<parse::GitCommit, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.log.next() {
            Some(commit) => Some(commit.map_err(Failure::from)),
            // The end of the output is the end of the history only if git says that it went well.
            None => match self.child.wait() {
                Ok(status) if status.success() => None,
                Ok(status) => Some(Err(format!("git log failed: {status}").into())),
                Err(error) => Some(Err(error.into())),
            },
        }
    }
}

impl Drop for RunningLog {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn range(after: Option<&str>, until: &str) -> String {
    after.map_or_else(|| until.to_owned(), |after| format!("{after}..{until}"))
}

fn not_started(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::NotFound {
        return "there is no `git` to be found; install it, or put it on the PATH".into();
    }
    format!("git could not be started: {error}").into()
}

fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr).trim().to_owned();
    if text.is_empty() { "git failed without saying why".to_owned() } else { text }
}

#[cfg(unix)]
pub(crate) fn from_bytes(path: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(path).to_owned()
}

#[cfg(unix)]
pub(crate) fn to_bytes(path: &OsStr) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_bytes().to_owned()
}

/// Elsewhere git's paths are UTF-8.
#[cfg(not(unix))]
pub(crate) fn from_bytes(path: &[u8]) -> OsString {
    String::from_utf8_lossy(path).into_owned().into()
}

#[cfg(not(unix))]
pub(crate) fn to_bytes(path: &OsStr) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}
