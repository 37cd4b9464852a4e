//! Reads what `git log --raw --numstat -z` writes, one git commit at a time.
//!
//! Everything ends in NUL, so a path may hold any other byte. In order, for each git commit:
//!
//! ```text
//! commit <id> <committer's seconds> <parents…>   the header that `FORMAT` asks for
//! <author>
//! <subject>
//! :<modes and ids> <status>                      --raw: once for each file, with
//! <path>                                         the path behind it
//! <added>\t<removed>\t<path>                     --numstat: once for each file; `-` if binary
//! ```
//!
//! Memory is bounded by the largest single git commit.

use chrono::{DateTime, Utc};
use std::io::{self, BufRead};

/// What `git log --format` has to be for this parser.
pub(crate) const FORMAT: &str = "--format=commit %H %ct %P%x00%an%x00%s";

/// Characters kept of an author's name and of a subject; some histories hold whole books there.
const TEXT_CHARS_MAX: usize = 200;

/// One git commit and what it did to files, compared with its first parent.
#[derive(Debug, PartialEq)]
pub(crate) struct GitCommit {
    pub(crate) id: String,
    /// The first parent; the root commit has none.
    pub(crate) parent: Option<String>,
    /// The committer's date, unless it is none that a calendar holds.
    pub(crate) committed: Option<DateTime<Utc>>,
    pub(crate) author: String,
    pub(crate) subject: String,
    pub(crate) changes: Vec<Change>,
}

/// What a git commit did to one file.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) path: Vec<u8>,
    pub(crate) status: Status,
    pub(crate) lines: Lines,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Status {
    Added,
    /// Its content, its mode or what kind of thing it is.
    Modified,
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lines {
    Text {
        added: u64,
        removed: u64,
    },
    /// One of the two sides at least is binary: git counts no lines.
    Binary,
}

/// The git commits in `input`, oldest first if git was asked so.
pub(crate) struct Log<R> {
    input: R,
    /// A header that was read to find the end of the commit before it.
    header: Option<Vec<u8>>,
}

impl<R: BufRead> Log<R> {
    pub(crate) fn new(input: R) -> Log<R> {
        Log { input, header: None }
    }

    fn read_commit(&mut self) -> io::Result<Option<GitCommit>> {
        let Some(header) = self.header.take().map_or_else(|| self.token(), |h| Ok(Some(h)))? else {
            return Ok(None);
        };
        let mut commit = parse_header(&header).ok_or_else(|| unexpected("a header", &header))?;
        commit.author = text(&self.expect_token("an author")?);
        commit.subject = text(&self.expect_token("a subject")?);
        let mut numbered = 0;
        while let Some(token) = self.token()? {
            match token.first() {
                Some(b'c') => {
                    self.header = Some(token);
                    break;
                }
                Some(b':') => {
                    let status =
                        parse_status(&token).ok_or_else(|| unexpected("a change", &token))?;
                    let path = self.expect_token("a path")?;
                    let lines = Lines::Text { added: 0, removed: 0 };
                    commit.changes.push(Change { path, status, lines });
                }
                _ => {
                    let (lines, path) =
                        parse_lines(&token).ok_or_else(|| unexpected("line counts", &token))?;
                    // Git lists the files in one order twice, and may pass over some here.
                    let rest = commit.changes.get_mut(numbered..).unwrap_or_default();
                    let found = rest.iter().position(|change| change.path == path);
                    let at =
                        found.ok_or_else(|| unexpected("line counts of a listed file", &token))?;
                    rest[at].lines = lines;
                    numbered += at + 1;
                }
            }
        }
        Ok(Some(commit))
    }

    /// What comes up to the next NUL; a line feed before it separates a header from its changes.
    fn token(&mut self) -> io::Result<Option<Vec<u8>>> {
        let token = self.raw_token()?;
        Ok(token.map(|mut token| {
            let feeds = token.iter().take_while(|byte| **byte == b'\n').count();
            token.drain(..feeds);
            token
        }))
    }

    fn raw_token(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut token = Vec::new();
        if self.input.read_until(0, &mut token)? == 0 {
            return Ok(None);
        }
        match token.pop() {
            Some(0) => Ok(Some(token)),
            _ => Err(invalid("git's output ends in the middle of a word".to_owned())),
        }
    }

    /// A path may begin with a line feed, and a subject may be empty: nothing is taken off here.
    fn expect_token(&mut self, what: &str) -> io::Result<Vec<u8>> {
        self.raw_token()?
            .ok_or_else(|| invalid(format!("git's output ends where {what} should be")))
    }
}

impl<R: BufRead> Iterator for Log<R> {
    type Item = io::Result<GitCommit>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_commit().transpose()
    }
}

/// What `git diff --numstat -z` writes: each file and its lines on the new side, `None` if binary.
pub(crate) fn numstat(output: &[u8]) -> io::Result<Vec<(Vec<u8>, Option<u64>)>> {
    let tokens = output.split(|byte| *byte == 0).filter(|token| !token.is_empty());
    tokens
        .map(|token| match parse_lines(token) {
            Some((Lines::Text { added, .. }, path)) => Ok((path.to_vec(), Some(added))),
            Some((Lines::Binary, path)) => Ok((path.to_vec(), None)),
            None => Err(unexpected("line counts", token)),
        })
        .collect()
}

fn parse_header(header: &[u8]) -> Option<GitCommit> {
    let header = std::str::from_utf8(header).ok()?;
    // Between two spaces may be nothing: a damaged commit has no date.
    let mut words = header.strip_prefix("commit ")?.split(' ');
    let id = words.next().filter(|id| is_id(id))?;
    let seconds = words.next()?;
    let parent = words.next().filter(|parent| !parent.is_empty());
    if parent.is_some_and(|parent| !is_id(parent)) {
        return None;
    }
    let committed = seconds.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    Some(GitCommit {
        id: id.to_owned(),
        parent: parent.map(str::to_owned),
        committed,
        author: String::new(),
        subject: String::new(),
        changes: Vec::new(),
    })
}

/// SHA-1 or SHA-256, in hexadecimal.
fn is_id(word: &str) -> bool {
    matches!(word.len(), 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn parse_status(raw: &[u8]) -> Option<Status> {
    match raw.rsplit(|byte| *byte == b' ').next()? {
        b"A" => Some(Status::Added),
        b"M" | b"T" => Some(Status::Modified),
        b"D" => Some(Status::Deleted),
        _ => None,
    }
}

fn parse_lines(token: &[u8]) -> Option<(Lines, &[u8])> {
    let mut fields = token.splitn(3, |byte| *byte == b'\t');
    let (added, removed, path) = (fields.next()?, fields.next()?, fields.next()?);
    if path.is_empty() {
        return None;
    }
    if (added, removed) == (b"-", b"-") {
        return Some((Lines::Binary, path));
    }
    let number = |digits| std::str::from_utf8(digits).ok()?.parse().ok();
    Some((Lines::Text { added: number(added)?, removed: number(removed)? }, path))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(TEXT_CHARS_MAX).collect()
}

fn unexpected(wanted: &str, met: &[u8]) -> io::Error {
    let met = String::from_utf8_lossy(&met[..met.len().min(100)]);
    invalid(format!("git's output has {met:?} where {wanted} should be"))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn parse(log: &str) -> io::Result<Vec<GitCommit>> {
        Log::new(log.as_bytes()).collect()
    }

    fn change(path: &str, status: Status, lines: Lines) -> Change {
        Change { path: path.into(), status, lines }
    }

    #[test]
    fn a_commit_has_its_parents_texts_and_changes() {
        let log = format!(
            "commit {TWO} 86400 {ONE} {ONE}\0Ann Other\0Merge\0\n:100644 100644 a b M\0x\0\
             :000000 100644 0 b A\0y\0:100644 000000 b 0 D\0z\0:120000 100644 b 0 T\0t\0\
             3\t1\tx\0-\t-\ty\x000\t7\tz\x001\t1\tt\0"
        );
        let text = |added, removed| Lines::Text { added, removed };
        let expected = GitCommit {
            id: TWO.to_owned(),
            parent: Some(ONE.to_owned()),
            committed: DateTime::from_timestamp(86_400, 0),
            author: "Ann Other".to_owned(),
            subject: "Merge".to_owned(),
            changes: vec![
                change("x", Status::Modified, text(3, 1)),
                change("y", Status::Added, Lines::Binary),
                change("z", Status::Deleted, text(0, 7)),
                change("t", Status::Modified, text(1, 1)),
            ],
        };
        assert_eq!(parse(&log).unwrap(), [expected]);
    }

    #[test]
    fn commits_that_change_nothing_follow_each_other() {
        let log = format!("commit {ONE} 1 \0a\0\0commit {TWO} 2 {ONE}\0commit by\0:1\0");
        let commits = parse(&log).unwrap();
        assert_eq!(commits.len(), 2);
        assert_eq!(commits[0].parent, None);
        assert_eq!((commits[1].author.as_str(), commits[1].subject.as_str()), ("commit by", ":1"));
        assert_eq!(commits[1].parent.as_deref(), Some(ONE));
    }

    #[test]
    fn a_path_may_hold_anything_but_nul() {
        let path = "\n1\t2\tcommit :\"\\";
        let log = format!(
            "commit {ONE} 1 \0a\0s\0\n:0 1 0 b A\0{path}\0:0 1 0 b A\0-\x005\t0\t{path}\0-\t-\t-\0"
        );
        let changes = &parse(&log).unwrap()[0].changes;
        let five = Lines::Text { added: 5, removed: 0 };
        assert_eq!(changes[0], change(path, Status::Added, five));
        assert_eq!(changes[1], change("-", Status::Added, Lines::Binary));
    }

    #[test]
    fn a_file_without_line_counts_has_none_added_or_removed() {
        let log = format!("commit {ONE} 1 \0a\0s\0\n:0 1 0 b M\0x\0:0 1 0 b M\0y\x002\t0\ty\0");
        let changes = &parse(&log).unwrap()[0].changes;
        assert_eq!(changes[0].lines, Lines::Text { added: 0, removed: 0 });
        assert_eq!(changes[1].lines, Lines::Text { added: 2, removed: 0 });
    }

    #[test]
    fn a_date_that_no_calendar_holds_is_no_date() {
        for (seconds, year) in [
            ("-86400", Some("1969")),
            ("99999999999999999", None),
            ("18446744073709551615", None),
            ("", None),
        ] {
            let log = format!("commit {ONE} {seconds} \0a\0s\0");
            let committed = parse(&log).unwrap()[0].committed;
            let met = committed.map(|date| date.format("%Y").to_string());
            assert_eq!(met.as_deref(), year, "{seconds}");
        }
    }

    #[test]
    fn output_that_git_would_not_write_is_an_error() {
        let header = format!("commit {ONE} 1 \0a\0s\0");
        for (rest, says) in [
            ("x", "middle of a word"),
            (":0 1 0 b A\0", "where a path should be"),
            (":0 1 0 b R100\0x\0", "R100"),
            ("1\t2\tx\0", "listed file"),
            ("1\tx\0", "line counts"),
            ("one\t2\tx\0", "line counts"),
            ("commit abc 1 \0a\0s\0", "a header"),
        ] {
            let error = parse(&format!("{header}{rest}")).unwrap_err().to_string();
            assert!(error.contains(says), "{rest:?}: {error}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let log = format!("commit {ONE} 1 \0{}\0é{}\0", "a".repeat(1_000), "é".repeat(1_000));
        let commit = &parse(&log).unwrap()[0];
        assert_eq!((commit.author.len(), commit.subject.len()), (200, 400));
    }
}
