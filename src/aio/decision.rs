//! Decisions across streams, for tasks.

use crate::aio::store::{Store, run};
use crate::model::decision::Decision;
use crate::model::decision::outcome::{DecideError, Decided};
use crate::model::decision::run::Settings;
use crate::telemetry::context;
use crate::value::error::Result;
use crate::value::event::Metadata;

/// Describes how a decision runs, for tasks; see [`Store::decision`].
#[must_use = "nothing is decided before `run`"]
pub struct DecisionBuilder<D> {
    settings: Settings,
    decision: D,
}

impl Store {
    /// Runs a decision that depends on events of several streams; see [`Store::decide`](crate::Store::decide). Reading,
    /// `decide` and `evolve` run on the pool, with one thread for each decision in progress.
    ///
    /// If the future is dropped before its turn on the pool, nothing is decided. If it is dropped later, the decision
    /// is made as if it had been awaited.
    pub async fn decide<D>(&self, decision: D) -> Result<Decided<D::Event>, DecideError<D::Error>>
    where
        D: Decision + Send + 'static,
    {
        self.decision(decision).run().await
    }

    /// Describes how a decision runs that needs metadata or other settings; see
    /// [`Store::decision`](crate::Store::decision).
    pub fn decision<D>(&self, decision: D) -> DecisionBuilder<D>
    where
        D: Decision + Send + 'static,
    {
        DecisionBuilder { settings: Settings::new(self.sync().log.clone()), decision }
    }
}

impl<D: Decision + Send + 'static> DecisionBuilder<D> {
    /// Sets the metadata of the events; see
    /// [`DecisionBuilder::metadata`](crate::decision::DecisionBuilder::metadata). With a `command_id`, a decision whose
    /// future was dropped can be sent again: it is recorded once.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.settings.metadata = metadata;
        self
    }

    /// Sets how often it is decided again after a conflict; see
    /// [`DecisionBuilder::retries`](crate::decision::DecisionBuilder::retries).
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// Decides; see [`Store::decide`]. The wait between two attempts takes a thread of the pool, too.
    ///
    /// If the future is dropped before its turn on the pool, nothing is decided. If it is dropped later, the decision
    /// is made as if it had been awaited.
    pub async fn run(self) -> Result<Decided<D::Event>, DecideError<D::Error>> {
        let DecisionBuilder { mut settings, decision } = self;
        let log = settings.log.clone();
        context::stamp_for_task(&mut settings.metadata, log.log().observers.traces());
        run(&log, move || settings.run(&decision)).await?
    }
}
