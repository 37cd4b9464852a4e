//! What the engine tells about itself while it works: counters, times, spans, and what it does something for. It reads
//! no file and knows no log.
//!
//! * Hot paths touch a few counters of their own. `store::stats` adds them up.
//! * Only this room names the crate `metrics`.

pub(crate) mod context;
pub(crate) mod counters;
pub(crate) mod instruments;
#[cfg(feature = "metrics")]
pub(crate) mod metrics_page;
pub(crate) mod spans;

use context::TraceContext;
use instruments::Instruments;
use std::sync::Arc;

/// Who is told what a log does.
#[derive(Default)]
pub(crate) struct Observers {
    pub(crate) instruments: Instruments,
    pub(crate) traces: Option<Arc<dyn TraceContext>>,
}

impl Observers {
    /// The application's side of distributed tracing.
    pub(crate) fn traces(&self) -> Option<&dyn TraceContext> {
        self.traces.as_deref()
    }
}
