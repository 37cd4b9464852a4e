//! Runs a decision: reads, decides, commits, and goes on after a conflict.
//!
//! * An attempt that met a conflict has written nothing, so the next one makes new events, with new ids.
//! * Whether an attempt whose outcome is unknown was recorded is found out by the command id alone: by its tag.

use crate::log::commit::Commit;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::outcome::{AppendError, Matched};
use crate::log::handle::LogHandle;
use crate::log::read::all::{AllEvents, AllRange};
use crate::log::read::selected::SelectedEvents;
use crate::model::decision::boundary::{Boundary, Folded, Wanted};
use crate::model::decision::outcome::{DecideError, Decided};
use crate::model::decision::{Decision, spans};
use crate::model::event_set;
use crate::model::repository::backoff;
use crate::telemetry::context;
use crate::value::callback;
use crate::value::error::{Error, Result};
use crate::value::event::{Metadata, NewEvent, RecordedEvent};
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::COMMAND_RETRIES_DEFAULT;
use crate::value::position::{ExpectedVersion, Position};
use crate::value::stream::StreamId;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// Describes how a decision runs; see [`Store::decision`](crate::Store::decision).
#[must_use = "nothing is decided before `run`"]
pub struct DecisionBuilder<'a, D> {
    settings: Settings,
    decision: &'a D,
}

impl<'a, D: Decision> DecisionBuilder<'a, D> {
    pub(crate) fn new(log: LogHandle, decision: &'a D) -> DecisionBuilder<'a, D> {
        DecisionBuilder { settings: Settings::new(log), decision }
    }

    /// Sets the metadata of the events. With a `command_id` the decision is recorded at most once in the store, even
    /// across restarts: sent again, it returns the events that it recorded then. One that was rejected, or decided
    /// nothing, is decided again.
    ///
    /// The events get the tag `$command:` with that id. An id must belong to one decision: another one under the same
    /// id returns the first one's events, or [`UnknownEventType`](crate::ErrorKind::UnknownEventType) if they are of
    /// another event set.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.settings.metadata = metadata;
        self
    }

    /// Sets how often it is decided again, on a model with the newer events, after a conflict: 3 times by default.
    /// Between two attempts it waits a random time that grows.
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// Decides; see [`Store::decide`](crate::Store::decide).
    ///
    /// # Errors
    /// Those of [`Store::decide`](crate::Store::decide).
    pub fn run(self) -> Result<Decided<D::Event>, DecideError<D::Error>> {
        self.settings.run(self.decision)
    }
}

/// How a decision runs, whatever it is.
pub(crate) struct Settings {
    pub(crate) log: LogHandle,
    pub(crate) metadata: Metadata,
    pub(crate) retries: u32,
}

impl Settings {
    pub(crate) fn new(log: LogHandle) -> Settings {
        Settings { log, metadata: Metadata::default(), retries: COMMAND_RETRIES_DEFAULT }
    }

    pub(crate) fn run<D: Decision>(
        mut self,
        decision: &D,
    ) -> Result<Decided<D::Event>, DecideError<D::Error>> {
        self.log.log().refuse_if_closed()?;
        callback::refuse_if_commits_wait("a decision")?;
        context::stamp(&mut self.metadata, self.log.log().observers.traces());
        let span = spans::decide();
        let outcome = self.run_now(decision);
        if span.is_on() {
            spans::tell(&span, &outcome);
        }
        outcome
    }

    fn run_now<D: Decision>(
        &self,
        decision: &D,
    ) -> Result<Decided<D::Event>, DecideError<D::Error>> {
        let mut reading = Reading::new(decision, self.metadata.command_id)?;
        let (mut retries, mut met) = (0, None);
        loop {
            if let Some(done) = reading.go_on(&self.log, met.as_ref())? {
                return Ok(Decided { retries, ..Decided::before(&done)? });
            }
            let model = &reading.folded.model;
            let decided = decision.decide(model).map_err(DecideError::Rejected)?;
            if decided.is_empty() {
                return Ok(Decided { retries, ..Decided::nothing(reading.head) });
            }
            match self.commit(decision, &decided, &reading) {
                Ok(done) => return Ok(Decided { retries, ..done }),
                Err(AppendError::Matched(matched)) if retries == self.retries => {
                    // The faster one may be this same command, sent twice.
                    return match reading.go_on(&self.log, Some(&matched))? {
                        Some(done) => Ok(Decided { retries, ..Decided::before(&done)? }),
                        None => Err(DecideError::Conflict(matched)),
                    };
                }
                Err(AppendError::Matched(matched)) => {
                    (retries, met) = (retries + 1, Some(matched));
                    std::thread::sleep(backoff::wait(retries));
                }
                Err(error) => return Err(Error::from(error).into()),
            }
        }
    }

    /// Records the events, unless one came meanwhile that forbids it.
    fn commit<D: Decision>(
        &self,
        decision: &D,
        decided: &[D::Event],
        reading: &Reading<D::Model>,
    ) -> Result<Decided<D::Event>, AppendError> {
        let mut written: Vec<Written<D::Event>> = Vec::new();
        let mut numbers = HashMap::new();
        for event in decided {
            let stream = StreamId::new(decision.stream(event))?;
            let number = *numbers.entry(stream.clone()).or_insert(written.len());
            if number == written.len() {
                written.push(Written { stream, new: Vec::new(), stored: Vec::new() });
            }
            let (new, read_back) = event_set::write(event)?;
            let new = new.metadata(self.metadata.clone());
            written[number].new.push(match &reading.command {
                Some(command) => new.tag(command),
                None => new,
            });
            // What will be loaded: an event may lack what serde skips.
            written[number].stored.push(read_back);
        }
        let (mut events, mut ids) = (Vec::new(), Vec::new());
        let mut commit = reading.conditions(decision.unless(&reading.folded.model), &self.log);
        for Written { stream, new, stored } in written {
            events.extend(stored);
            ids.extend(new.iter().map(|new| new.id));
            commit = commit.append(stream, ExpectedVersion::Any, new);
        }
        let committed = self.log.engine().commit_queued(EncodedCommit::new(commit)?, || {})?;
        Ok(Decided::recorded(events, ids, committed))
    }
}

/// The events of one stream, as they are to be appended and as they will be loaded.
struct Written<E> {
    stream: StreamId,
    new: Vec<NewEvent>,
    stored: Vec<E>,
}

/// What was read for a decision, and up to where.
struct Reading<B> {
    folded: Folded<B>,
    /// The tag of the events that answer its command.
    command: Option<String>,
    has_begun: bool,
    /// Everything up to here was read.
    head: Position,
}

impl<B: Boundary> Reading<B> {
    /// Nothing is read yet.
    fn new<D: Decision<Model = B>>(decision: &D, command: Option<Uuid>) -> Result<Reading<B>> {
        let folded = Folded::new(decision.model())?;
        let command = command.map(|id| format!("$command:{id}"));
        Ok(Reading { folded, command, has_begun: false, head: Position::START })
    }

    /// Shows the model what was recorded since. If events answer the command already, returns these instead. `met` is
    /// why it is not decided yet.
    fn go_on(
        &mut self,
        log: &LogHandle,
        met: Option<&Matched>,
    ) -> Result<Option<Vec<RecordedEvent>>> {
        let is_first = !self.has_begun || failpoint!("decision::show_again_after_a_conflict");
        let (after, head) = ((!is_first).then_some(self.head), log.log().head_position());
        let read = |wanted: &Wanted| events(log, wanted, after, head);
        if let Some(command) = &self.command
            && !failpoint!("decision::overlook_a_recorded_command")
        {
            let answers = Wanted { filter: Filter::tag(command), newest: None };
            let before = read(&answers)?.collect::<Result<Vec<_>>>()?;
            if !before.is_empty() {
                return Ok(Some(before));
            }
        }
        let mut is_shown = failpoint!("decision::overlook_what_the_model_does_not_see");
        let note = |event: &RecordedEvent| {
            is_shown |= met.is_some_and(|met| met.position == event.position);
        };
        self.folded.go_on(read, note)?;
        (self.has_begun, self.head) = (true, head);
        match met {
            Some(met) if met.position <= head && !is_shown => Err(not_shown(met)),
            _ => Ok(None),
        }
    }

    /// A commit on the condition that nothing came since that forbids it.
    fn conditions(&self, narrower: Option<Filter>, log: &LogHandle) -> Commit {
        let after = match failpoint!("decision::begin_the_condition_at_the_new_head") {
            true => log.log().head_position(),
            false => self.head,
        };
        // After the start, a condition on all events of a category is refused; `unless` cannot know that the store is
        // empty. Then nothing was read, and what the model wants is as good.
        let forbidding = narrower.filter(|_| self.head > Position::START);
        let forbidding = forbidding.unwrap_or_else(|| self.folded.filter().clone());
        let commit = Commit::new().unless(forbidding, after);
        match &self.command {
            Some(command) if !failpoint!("decision::forget_the_command") => {
                commit.unless(Filter::tag(command), after)
            }
            _ => commit,
        }
    }
}

/// The events after `after` and up to `head` that are wanted; `None` if nothing was read before.
fn events(
    log: &LogHandle,
    wanted: &Wanted,
    after: Option<Position>,
    head: Position,
) -> Result<Box<dyn Iterator<Item = Result<RecordedEvent>>>> {
    let (log, filter) = (log.log(), &wanted.filter);
    let all = |first, backwards, limit| {
        let range = AllRange { first, last: head.get(), backwards, limit, filter: filter.clone() };
        AllEvents::new(Arc::clone(log), range)
    };
    Ok(match (after, wanted.newest) {
        (Some(after), _) => Box::new(all(after.get() + 1, false, u64::MAX)),
        (None, None) => Box::new(SelectedEvents::new(log, filter, head)?),
        (None, Some(newest)) if wanted.is_indexed() => {
            let newest = usize::try_from(newest).unwrap_or(usize::MAX);
            let mut last = VecDeque::new();
            for event in SelectedEvents::new(log, filter, head)? {
                last.push_back(event?);
                if last.len() > newest {
                    last.pop_front();
                }
            }
            Box::new(last.into_iter().map(Ok))
        }
        // They are looked for from the end of the log.
        (None, Some(newest)) => {
            let backwards = !failpoint!("decision::show_the_oldest");
            let mut last = all(1, backwards, newest).collect::<Result<Vec<_>>>()?;
            last.reverse();
            Box::new(last.into_iter().map(Ok))
        }
    })
}

/// The error for an event that `unless` accepts and the model's filter does not.
fn not_shown(met: &Matched) -> Error {
    Error::invalid(format!(
        "`unless` of the decision accepts the event at position {}, which the filter of its model does not: deciding \
         again would not change anything; let the model accept it, too, or `unless` not",
        met.position
    ))
}
