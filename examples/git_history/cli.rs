//! The command line.

use super::Failure;
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
git_history: a git repository's history as a film

Takes the first-parent history of a git repository into a filmstrip store, one commit for each git
commit, and answers from it: which files are the largest, now or as of any earlier git commit; which
changed most often; and how one file came to be what it is. Run again, it takes in what is new.

Usage: git_history PATH [options]

  PATH          any directory of a git repository
  --store DIR   where the store is, or is to be [default: git-history-data]
  --as-of REV   also show the largest files as of this git commit
  --film FILE   also show everything that happened to this file; FILE is its path in the repository
  --top N       how many files to list [default: 10]
  --check       compare the lines of every file with git's own numbers
  --progress    show the progress even if standard error is no terminal
  --help        show this

Paths are shown as in a URL: %09 is a tab, %25 a percent sign. Of a path over 1,000 bytes the end is
replaced with a hash.
";

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    pub(crate) repository: PathBuf,
    pub(crate) store: PathBuf,
    pub(crate) as_of: Option<OsString>,
    pub(crate) film: Option<OsString>,
    pub(crate) top: usize,
    pub(crate) check: bool,
    pub(crate) progress: bool,
}

impl Options {
    pub(crate) fn new(repository: impl Into<PathBuf>) -> Options {
        Options {
            repository: repository.into(),
            store: "git-history-data".into(),
            as_of: None,
            film: None,
            top: 10,
            check: false,
            progress: false,
        }
    }
}

/// The options in `arguments`; `None` if help is asked for.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<Options>, Failure> {
    let mut arguments = arguments.into_iter();
    let mut options = Options::new("");
    let mut repository = None;
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let mut value =
            || arguments.next().ok_or_else(|| format!("{name} needs a value after it; see --help"));
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--store" => options.store = value()?.into(),
            "--as-of" => options.as_of = Some(value()?),
            "--film" => options.film = Some(value()?),
            "--top" => options.top = count(&value()?.to_string_lossy())?,
            "--check" => options.check = true,
            "--progress" => options.progress = true,
            _ if name.starts_with('-') => {
                return Err(format!("there is no option {name}; see --help").into());
            }
            _ if repository.is_none() => repository = Some(argument),
            _ => return Err(format!("{name:?} is one argument too many; see --help").into()),
        }
    }
    let repository = repository.ok_or("name the git repository to read; see --help")?;
    Ok(Some(Options { repository: repository.into(), ..options }))
}

fn count(text: &str) -> Result<usize, Failure> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("--top is {text:?}; a number from 1 on is allowed").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Option<Options>, String> {
        parse(words.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_may_stand_before_and_behind_the_path() {
        let options =
            parse_words("--top 3 repo --as-of HEAD~1 --check --store s").unwrap().unwrap();
        let expected = Options {
            store: "s".into(),
            as_of: Some("HEAD~1".into()),
            top: 3,
            check: true,
            ..Options::new("repo")
        };
        assert_eq!(options, expected);
        assert_eq!(parse_words("repo").unwrap(), Some(Options::new("repo")));
    }

    #[test]
    fn help_is_found_anywhere() {
        assert_eq!(parse_words("repo --help"), Ok(None));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (words, says) in [
            ("", "name the git repository"),
            ("repo --speed", "--speed"),
            ("repo other", "\"other\""),
            ("repo --top", "--top needs a value"),
            ("repo --top 0", "\"0\""),
            ("repo --top many", "\"many\""),
        ] {
            let error = parse_words(words).unwrap_err();
            assert!(error.contains(says), "{words:?}: {error}");
        }
    }
}
