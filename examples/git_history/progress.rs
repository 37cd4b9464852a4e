//! Progress on standard error while git commits are ingested.

use super::Failure;
use super::report::grouped;
use super::take;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(1);

/// Shows, about once a second, how far it is and how long it will take.
pub(crate) struct Display {
    shown: bool,
    started: Instant,
    last: Instant,
    /// What ends a line that the next one replaces.
    line_end: &'static str,
}

impl Display {
    /// Silent if standard error is no terminal, unless `always`.
    pub(crate) fn new(always: bool) -> Display {
        let terminal = io::stderr().is_terminal();
        let now = Instant::now();
        let line_end = if terminal { "\x1b[K\r" } else { "\n" };
        Display { shown: terminal || always, started: now, last: now, line_end }
    }

    pub(crate) fn show(&mut self, progress: take::Progress) -> Result<(), Failure> {
        if self.shown && self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            let line = line(progress, self.started.elapsed());
            write!(io::stderr(), "{line}{}", self.line_end)?;
        }
        Ok(())
    }

    /// Clears the line that the terminal still shows; returns how long it all took.
    pub(crate) fn finish(&self) -> Result<Duration, Failure> {
        if self.shown && self.line_end != "\n" {
            write!(io::stderr(), "{}", self.line_end)?;
        }
        Ok(self.started.elapsed())
    }
}

fn line(progress: take::Progress, elapsed: Duration) -> String {
    let take::Progress { total, commits, changes, .. } = progress;
    let seconds = elapsed.as_secs_f64().max(0.001);
    let percent = (commits * 100).checked_div(total).unwrap_or(100);
    let left = match commits {
        0 => "unknown".to_owned(),
        _ => {
            let left = seconds * (total - commits.min(total)) as f64 / commits as f64;
            format!("{}:{:02}", left as u64 / 60, left as u64 % 60)
        }
    };
    format!(
        "{} of {} git commits ({percent} %), {} changes of files, {}/s, time left {left}",
        grouped(commits),
        grouped(total),
        grouped(changes),
        grouped((changes as f64 / seconds) as u64),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_percent_and_time_left() {
        let progress =
            take::Progress { total: 4_000, commits: 1_000, changes: 12_345, ..Default::default() };
        assert_eq!(
            line(progress, Duration::from_secs(30)),
            "1,000 of 4,000 git commits (25 %), 12,345 changes of files, 411/s, time left 1:30"
        );
    }

    #[test]
    fn a_line_can_be_shown_before_anything_is_taken() {
        let line = line(take::Progress::default(), Duration::ZERO);
        assert!(line.starts_with("0 of 0 git commits (100 %)"), "{line}");
    }
}
