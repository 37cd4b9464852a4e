//! Takes git commits into the store, each as one commit, and goes on where it stopped.
//!
//! * A git commit is in the store wholly or not at all, however the program ends; only one that is
//!   too large for a commit of the store is ingested in parts, in order.
//! * Each commit taken is the child, by first parent, of the one taken before it.
//! * What was taken is known from the store alone: from the newest event of a `Commit-<id>` stream,
//!   which each commit writes last. A git commit that touches no file has one too.

use super::Failure;
use super::events::{COMMIT_ENTRY, CommitEvent, FileEvent, PATH_ENTRY};
use super::git::Git;
use super::names::{COMMIT, commit_stream, encode, file_stream, is_shortened, without_category};
use super::parse::{Change, GitCommit, Lines, Status};
use filmstrip::limits::{COMMIT_BYTES_MAX, COMMIT_EVENTS_MAX};
use filmstrip::{Commit, ExpectedVersion, Metadata, NewEvent};
use filmstrip::{Result, Store, StreamId, Version};
use std::collections::HashMap;

/// How much goes into one commit of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartLimits {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

impl Default for PartLimits {
    /// Half of the bytes that are allowed, because ours are an estimate.
    fn default() -> PartLimits {
        PartLimits { events: COMMIT_EVENTS_MAX, bytes: COMMIT_BYTES_MAX / 2 }
    }
}

/// What an event takes besides its texts, generously.
const EVENT_BYTES: usize = 512;

/// How far the taking is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Progress {
    /// Git commits there are to take.
    pub(crate) total: u64,
    /// Git commits taken.
    pub(crate) commits: u64,
    /// Changes to files taken.
    pub(crate) changes: u64,
    /// Git commits that had to be ingested in parts.
    pub(crate) in_parts: u64,
}

/// Where the store is in the git history.
struct Taken {
    /// The newest git commit that is wholly in.
    last: Option<String>,
    /// The one after it, if it is partly in: its id, how many of its files, and its stream's version.
    partly: Option<(String, usize, Version)>,
}

/// Who is told after every commit of the store how far it is, and may stop it there.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(Progress) -> Result<(), Failure>;

/// Takes in what the store lacks of the first-parent history of `head`.
pub(crate) fn take(
    store: &Store,
    git: &Git,
    head: &str,
    limits: PartLimits,
    watch: Watch<'_>,
) -> Result<Progress, Failure> {
    let Taken { mut last, mut partly } = taken(store)?;
    for id in last.iter().chain(partly.iter().map(|(id, ..)| id)) {
        check_is_in_history(git, id, head)?;
    }
    let progress = Progress { total: git.count(last.as_deref(), head)?, ..Progress::default() };
    let mut taking = Taking { store, git, limits, progress, watch };
    for commit in git.log(last.as_deref(), head)? {
        let commit = commit?;
        if commit.parent != last {
            return Err(rewritten(last.as_deref().unwrap_or("nothing"), head));
        }
        let (file, version) = match partly.take() {
            Some((id, file, version)) if id == commit.id => (file, version),
            Some((id, ..)) => return Err(rewritten(&id, head)),
            None => (0, Version::NONE),
        };
        taking.commit(&commit, file, version)?;
        last = Some(commit.id);
    }
    Ok(taking.progress)
}

/// The newest event of any `Commit-<id>` stream tells.
fn taken(store: &Store) -> Result<Taken, Failure> {
    let Some(event) = store.read_all().category(COMMIT).backwards().limit(1).iter()?.next() else {
        return Ok(Taken { last: None, partly: None });
    };
    let event = event?;
    let id = without_category(&event.stream).to_owned();
    Ok(match event.decode()? {
        CommitEvent::CommitTaken { .. } => Taken { last: Some(id), partly: None },
        CommitEvent::PartTaken { parent, files } => {
            Taken { last: parent, partly: Some((id, usize::try_from(files)?, event.version)) }
        }
    })
}

fn check_is_in_history(git: &Git, id: &str, head: &str) -> Result<(), Failure> {
    git.commit(id.as_ref()).map_err(|_| {
        format!(
            "the store has taken in git commit {id}, which this repository does not have: it is \
             another one, or its history was rewritten; name another directory with --store"
        )
    })?;
    if git.is_ancestor(id, head)? {
        return Ok(());
    }
    if git.is_ancestor(head, id)? {
        return Err(format!(
            "the store is ahead: it has taken in git commit {id}, and HEAD is {head}, an earlier \
             one; check the newer one out, or name another directory with --store"
        )
        .into());
    }
    Err(rewritten(id, head))
}

fn rewritten(id: &str, head: &str) -> Failure {
    format!(
        "the git commit taken in last, {id}, is not on the first-parent history of HEAD ({head}): \
         it was rewritten, or another branch is checked out; check the old one out, or name another \
         directory with --store to take the new history in from its beginning"
    )
    .into()
}

/// What stays the same from one git commit to the next.
struct Taking<'a> {
    store: &'a Store,
    git: &'a Git,
    limits: PartLimits,
    progress: Progress,
    watch: Watch<'a>,
}

impl Taking<'_> {
    /// Takes in one git commit, from its file number `file` on; its own stream is at `version`.
    fn commit(
        &mut self,
        commit: &GitCommit,
        mut file: usize,
        mut version: Version,
    ) -> Result<(), Failure> {
        let outcomes = lines_of_replaced(self.git, commit)?;
        loop {
            let start = file;
            let mut part = Commit::new();
            let mut bytes = EVENT_BYTES;
            // One event is kept free for the git commit's own.
            while let Some(change) = commit.changes.get(file)
                && file - start + 1 < self.limits.events
                && (bytes < self.limits.bytes || file == start)
            {
                let stream = file_stream(&change.path)?;
                let event = file_event(commit, change, &stream, &outcomes)?;
                bytes += EVENT_BYTES + stream.as_str().len() + 3 * change.path.len();
                // Any version: that this git commit is not in yet is what its own stream says below.
                part = part.append(&stream, ExpectedVersion::Any, [event]);
                file += 1;
            }
            let done = file == commit.changes.len();
            let own = commit_event(commit, (!done).then_some(file))?;
            self.store.commit(part.append(commit_stream(&commit.id)?, version, [own]))?;
            version = Version::new(version.get() + 1);

            self.progress.changes += (file - start) as u64;
            self.progress.commits += u64::from(done);
            self.progress.in_parts += u64::from(!done && start == 0);
            (self.watch)(self.progress)?;
            if done {
                return Ok(());
            }
        }
    }
}

fn file_event(
    commit: &GitCommit,
    change: &Change,
    stream: &StreamId,
    outcomes: &HashMap<&[u8], Option<u64>>,
) -> Result<NewEvent, Failure> {
    let event = match (change.status, change.lines) {
        (Status::Deleted, _) => FileEvent::FileDeleted,
        (Status::Added, Lines::Text { added, .. }) => FileEvent::FileAdded { lines: Some(added) },
        (Status::Added, Lines::Binary) => FileEvent::FileAdded { lines: None },
        (Status::Modified, Lines::Text { added, removed }) => {
            FileEvent::FileChanged { added, removed }
        }
        (Status::Modified, Lines::Binary) => {
            let lines = outcomes.get(change.path.as_slice()).copied().flatten();
            FileEvent::FileReplaced { lines }
        }
    };
    let mut metadata = Metadata::default().entry(COMMIT_ENTRY, &commit.id);
    if is_shortened(stream.as_str()) {
        metadata = metadata.entry(PATH_ENTRY, encode(&change.path));
    }
    Ok(happened(commit, NewEvent::of(&event)?.metadata(metadata)))
}

/// The event of the git commit itself; `files_in` if more of them are to come.
fn commit_event(commit: &GitCommit, files_in: Option<usize>) -> Result<NewEvent, Failure> {
    let parent = commit.parent.clone();
    let event = match files_in {
        Some(files) => CommitEvent::PartTaken { parent, files: files as u64 },
        None => CommitEvent::CommitTaken {
            parent,
            files: commit.changes.len() as u64,
            author: commit.author.clone(),
            subject: commit.subject.clone(),
        },
    };
    Ok(happened(commit, NewEvent::of(&event)?))
}

/// Says when it happened. A git commit without a usable date happened when the store takes it.
fn happened(commit: &GitCommit, event: NewEvent) -> NewEvent {
    match commit.committed {
        Some(date) => event.occurred_at(date),
        None => event,
    }
}

/// A changed file that is or was binary has no line counts: git is asked for those of the outcome.
fn lines_of_replaced<'c>(
    git: &Git,
    commit: &'c GitCommit,
) -> Result<HashMap<&'c [u8], Option<u64>>, Failure> {
    let replaced = commit
        .changes
        .iter()
        .filter(|change| change.status == Status::Modified && change.lines == Lines::Binary);
    let paths: Vec<&[u8]> = replaced.map(|change| change.path.as_slice()).collect();
    if paths.is_empty() {
        return Ok(HashMap::new());
    }
    let lines: HashMap<Vec<u8>, Option<u64>> = git.lines(&commit.id, &paths)?.into_iter().collect();
    Ok(paths.into_iter().map(|path| (path, lines.get(path).copied().flatten())).collect())
}
