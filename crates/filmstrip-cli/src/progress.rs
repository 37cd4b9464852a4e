//! Progress of what takes long: on standard error, and only if that is a terminal.

use filmstrip::repair;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// Events or bytes between two steps of a bar: what is counted costs more than to be told of it.
const STEP: u64 = 1_024;

/// A bar that is not there where nobody would see it.
pub(crate) struct Progress {
    bar: ProgressBar,
    unit: Unit,
    told: u64,
}

/// What a bar counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Events,
    Bytes,
    Nothing,
}

impl Progress {
    /// A bar for `total` events.
    pub(crate) fn events(what: &'static str, total: u64) -> Progress {
        Progress::new(what, Unit::Events, total)
    }

    /// A bar for `total` bytes.
    pub(crate) fn bytes(what: &'static str, total: u64) -> Progress {
        Progress::new(what, Unit::Bytes, total)
    }

    /// A bar for bytes of a store's journal, which [`reporter`](Progress::reporter) fills.
    pub(crate) fn journal(what: &'static str) -> Progress {
        Progress::bytes(what, 0)
    }

    /// What the library calls while it works. What reads the journal more than once begins again.
    pub(crate) fn reporter(&self) -> impl Fn(repair::Progress) + '_ {
        |progress| match self.unit {
            Unit::Events => self.bar.set_position(progress.position.get()),
            _ => {
                self.bar.set_length(progress.total_bytes);
                self.bar.set_position(progress.bytes);
            }
        }
    }

    /// Something whose end is not known.
    pub(crate) fn unknown(what: &'static str) -> Progress {
        let progress = Progress::new(what, Unit::Nothing, 0);
        if !progress.bar.is_hidden() {
            progress.bar.enable_steady_tick(Duration::from_millis(100));
        }
        progress
    }

    fn new(what: &'static str, unit: Unit, total: u64) -> Progress {
        let template = match unit {
            Unit::Events => "{msg} {wide_bar} {human_pos} of {human_len} events, {eta} left",
            Unit::Bytes => "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left",
            Unit::Nothing => "{spinner} {msg}, {elapsed}",
        };
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
        let style = ProgressStyle::with_template(template);
        let bar = bar.with_style(style.expect("a template that indicatif knows"));
        Progress { bar, unit, told: 0 }
    }

    /// So much is done.
    pub(crate) fn reached(&mut self, done: u64) {
        if done >= self.told + STEP {
            self.told = done;
            self.bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
