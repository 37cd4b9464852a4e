//! How long things take, for a recorder of the crate `metrics`. Without the feature `metrics` nothing here does
//! anything.
//!
//! * No clock is read before somebody asks for the metrics, so a program without a recorder does not pay for one.
//! * A recorder is the application's code: it may panic, and must not commit.

#[cfg(feature = "metrics")]
pub(crate) use with_metrics::*;
#[cfg(not(feature = "metrics"))]
pub(crate) use without_metrics::*;

#[cfg(not(feature = "metrics"))]
mod without_metrics {
    /// Whether it is timed how long things take.
    #[derive(Clone, Copy)]
    pub(crate) struct Timing;

    /// When something began.
    #[derive(Clone, Copy)]
    pub(crate) struct Stopwatch;

    /// How long it took.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Taken;

    impl Timing {
        pub(crate) const OFF: Timing = Timing;

        #[inline(always)]
        pub(crate) fn start(self) -> Stopwatch {
            Stopwatch
        }
    }

    impl Stopwatch {
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
        pub(crate) fn timing(&self) -> Timing {
            Timing
        }

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
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    /// Whether it is timed how long things take.
    #[derive(Clone, Copy)]
    pub(crate) struct Timing(bool);

    /// When something began, if it is timed.
    #[derive(Clone, Copy)]
    pub(crate) struct Stopwatch(Option<Instant>);

    /// How long it took.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Taken(Option<Duration>);

    impl Timing {
        pub(crate) const OFF: Timing = Timing(false);

        #[inline]
        pub(crate) fn start(self) -> Stopwatch {
            Stopwatch(self.0.then(Instant::now))
        }
    }

    impl Stopwatch {
        #[inline]
        pub(crate) fn taken(self) -> Taken {
            Taken(self.0.map(|begun| begun.elapsed()))
        }
    }

    /// The histograms of one store.
    #[derive(Default)]
    pub(crate) struct Instruments {
        page: Page,
        histograms: OnceLock<Histograms>,
    }

    struct Histograms {
        commit: Histogram,
        fdatasync: Histogram,
        group: Histogram,
        flush: Histogram,
        compaction: Histogram,
    }

    impl Instruments {
        /// The instruments of the store `name`.
        pub(crate) fn new(name: &str) -> Instruments {
            Instruments { page: Page::new(name), histograms: OnceLock::new() }
        }

        /// The metrics for the recorder that is installed. From the first call on, that one is told how long things
        /// take.
        pub(crate) fn page(&self) -> &Page {
            self.histograms.get_or_init(|| {
                metrics_page::describe();
                let of = |name| self.page.histogram(name);
                Histograms {
                    commit: of("filmstrip_commit_seconds"),
                    fdatasync: of("filmstrip_fdatasync_seconds"),
                    group: of("filmstrip_commit_group_commits"),
                    flush: of("filmstrip_index_flush_seconds"),
                    compaction: of("filmstrip_index_compaction_seconds"),
                }
            });
            &self.page
        }

        #[inline]
        pub(crate) fn timing(&self) -> Timing {
            Timing(self.histograms.get().is_some())
        }

        #[inline]
        pub(crate) fn commit(&self, begun: Stopwatch) {
            self.record(begun.taken(), |to| &to.commit);
        }

        #[inline]
        pub(crate) fn group(&self, commits: usize, synced: Taken) {
            self.record(synced, |to| &to.fdatasync);
            if let Some(histograms) = self.histograms.get() {
                record(&histograms.group, commits as f64);
            }
        }

        pub(crate) fn flush(&self, begun: Stopwatch) {
            self.record(begun.taken(), |to| &to.flush);
        }

        pub(crate) fn compaction(&self, begun: Stopwatch) {
            self.record(begun.taken(), |to| &to.compaction);
        }

        #[inline]
        fn record(&self, taken: Taken, to: impl FnOnce(&Histograms) -> &Histogram) {
            if let (Some(taken), Some(histograms)) = (taken.0, self.histograms.get()) {
                record(to(histograms), taken.as_secs_f64());
            }
        }
    }

    #[cold]
    fn record(histogram: &Histogram, value: f64) {
        let record = || {
            let _held = Holding::Commits.begin();
            histogram.record(value);
        };
        // What was measured is done, whatever the recorder makes of it.
        let _ = catch(record);
    }
}
