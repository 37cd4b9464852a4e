//! How long things take, for a recorder of the crate `metrics`. Without the feature `metrics` nothing here does
//! anything, and no clock is read.
//!
//! * A recorder is the application's code: it may panic, and must not commit.

#[cfg(feature = "metrics")]
pub(crate) use with_metrics::*;
#[cfg(not(feature = "metrics"))]
pub(crate) use without_metrics::*;

#[cfg(not(feature = "metrics"))]
mod without_metrics {
    /// When something began.
    #[derive(Clone, Copy)]
    pub(crate) struct Stopwatch;

    /// How long it took.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Taken;

    impl Stopwatch {
        #[inline(always)]
        pub(crate) fn start() -> Stopwatch {
            Stopwatch
        }

        #[inline(always)]
        pub(crate) fn taken(self) -> Taken {
            Taken
        }
    }

    /// The histograms of one store.
    #[derive(Default)]
    pub(crate) struct Instruments;

    impl Instruments {
        #[inline(always)]
        pub(crate) fn commit(&self, _: Stopwatch) {}

        #[inline(always)]
        pub(crate) fn group(&self, _: usize, _: Taken) {}

        #[inline(always)]
        pub(crate) fn flush(&self, _: Stopwatch) {}

        #[inline(always)]
        pub(crate) fn compaction(&self, _: Stopwatch) {}
    }
}

#[cfg(feature = "metrics")]
mod with_metrics {
    use crate::telemetry::metrics_page::{self, Page};
    use crate::value::callback::Holding;
    use crate::value::error::catch;
    use metrics::Histogram;
    use std::time::{Duration, Instant};

    /// When something began.
    #[derive(Clone, Copy)]
    pub(crate) struct Stopwatch(Instant);

    /// How long it took.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Taken(Duration);

    impl Stopwatch {
        pub(crate) fn start() -> Stopwatch {
            Stopwatch(Instant::now())
        }

        pub(crate) fn taken(self) -> Taken {
            Taken(self.0.elapsed())
        }
    }

    /// The histograms of one store, of the recorder that was installed when it was opened.
    pub(crate) struct Instruments {
        pub(crate) page: Page,
        commit: Histogram,
        fdatasync: Histogram,
        group: Histogram,
        flush: Histogram,
        compaction: Histogram,
    }

    /// Instruments that nobody reads.
    impl Default for Instruments {
        fn default() -> Instruments {
            let none = Histogram::noop;
            let (commit, fdatasync, group) = (none(), none(), none());
            let (flush, compaction) = (none(), none());
            Instruments { page: Page::new(""), commit, fdatasync, group, flush, compaction }
        }
    }

    impl Instruments {
        /// The instruments of the store `name`.
        pub(crate) fn new(name: &str) -> Instruments {
            metrics_page::describe();
            let page = Page::new(name);
            let of = |name| page.histogram(name);
            Instruments {
                commit: of("filmstrip_commit_seconds"),
                fdatasync: of("filmstrip_fdatasync_seconds"),
                group: of("filmstrip_commit_group_commits"),
                flush: of("filmstrip_index_flush_seconds"),
                compaction: of("filmstrip_index_compaction_seconds"),
                page,
            }
        }

        pub(crate) fn commit(&self, begun: Stopwatch) {
            record(&self.commit, begun.0.elapsed().as_secs_f64());
        }

        pub(crate) fn group(&self, commits: usize, synced: Taken) {
            record(&self.fdatasync, synced.0.as_secs_f64());
            record(&self.group, commits as f64);
        }

        pub(crate) fn flush(&self, begun: Stopwatch) {
            record(&self.flush, begun.0.elapsed().as_secs_f64());
        }

        pub(crate) fn compaction(&self, begun: Stopwatch) {
            record(&self.compaction, begun.0.elapsed().as_secs_f64());
        }
    }

    fn record(histogram: &Histogram, value: f64) {
        let record = || {
            let _held = Holding::Commits.begin();
            histogram.record(value);
        };
        // What was measured is done, whatever the recorder makes of it.
        let _ = catch(record);
    }
}
