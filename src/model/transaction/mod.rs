//! Transactions: several aggregates decide, and one commit records it all.
//!
//! * The closure runs on states that nobody else changes meanwhile, as far as the others take turns too. What decides
//!   is the commit: it holds every stream that was asked for at the version that was seen, or writes nothing.
//! * The first run learns which streams there are: a turn that could close a circle of waiting threads is only tried.
//!   From the second run on they are taken before, in the order of their names.
//! * One commit is all or nothing, so any of its streams tells whether a command has been executed.

pub(crate) mod outcome;

use crate::log::handle::LogHandle;
use crate::model::aggregate::Aggregate;
use crate::model::repository::Repository;
use crate::model::repository::backoff;
use crate::model::repository::commit::{Failed, commit, stand};
use crate::model::repository::kinds::Kinds;
use crate::model::repository::outcome::ExecuteError;
use crate::model::repository::part::{AnyPart, Part, Trust};
use crate::model::repository::turn::{self, StreamTurn};
use crate::telemetry::context;
use crate::telemetry::spans::enter_span;
use crate::value::callback;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::Metadata;
use crate::value::limits::{COMMAND_RETRIES_DEFAULT, COMMIT_STREAMS_MAX};
use crate::value::position::Version;
use crate::value::stream::StreamId;
use outcome::{DecidedPart, Transacted};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Describes how transactions run; see [`Store::transaction`](crate::Store::transaction). One can run any number of
/// them, on any number of threads.
#[must_use = "nothing runs before `run`"]
pub struct TransactionBuilder {
    log: LogHandle,
    kinds: Arc<Kinds>,
    own: Kinds,
    retries: u32,
}

impl TransactionBuilder {
    pub(crate) fn new(log: LogHandle, kinds: Arc<Kinds>) -> TransactionBuilder {
        TransactionBuilder { log, kinds, own: Kinds::default(), retries: COMMAND_RETRIES_DEFAULT }
    }

    /// Sets how often the closure runs again, on newer states, after a conflict: 3 times by default. Between two
    /// attempts it waits a random time that grows.
    pub fn retries(mut self, retries: u32) -> TransactionBuilder {
        self.retries = retries;
        self
    }

    /// Loads the aggregates of this kind as `repository` does: from its cache, and by its snapshots. By default all
    /// transactions of a store share one cache for each kind, and use no snapshots.
    pub fn loads_with<A: Aggregate>(self, repository: &Repository<A>) -> TransactionBuilder {
        self.own.put(repository);
        self
    }

    /// Runs a transaction; see [`Store::transact`](crate::Store::transact).
    ///
    /// # Errors
    /// Those of [`Store::transact`](crate::Store::transact).
    pub fn run<T, E>(
        &self,
        mut metadata: Metadata,
        closure: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<Transacted<T>, ExecuteError<E>> {
        self.log.log().owner.check()?;
        callback::refuse_if_commits_wait("a transaction")?;
        context::stamp(&mut metadata, self.log.log().observers.traces());
        let span = enter_span!(
            INFO,
            "transact",
            db.system.name = "filmstrip",
            db.operation.name = "transact",
            filmstrip.retries = tracing::field::Empty,
            filmstrip.outcome = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
        );
        let outcome = self.run_now(&metadata, closure);
        match &outcome {
            Ok(done) => {
                span.record("filmstrip.retries", done.retries);
                let is_new = !done.already_executed;
                span.outcome(if is_new { "done" } else { "already_executed" }, None);
            }
            Err(ExecuteError::Rejected(_)) => span.outcome("rejected", None),
            Err(ExecuteError::Conflict(_)) => span.outcome("conflict", None),
            Err(ExecuteError::Store(error)) => span.outcome("failed", Some(error)),
        }
        outcome
    }

    fn run_now<T, E>(
        &self,
        metadata: &Metadata,
        mut closure: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<Transacted<T>, ExecuteError<E>> {
        let (mut retries, mut trust, mut streams) = (0, Trust::Handed, None);
        loop {
            let mut transaction = Transaction::begin(self, metadata, trust, streams.as_ref());
            let outcome = closure(&mut transaction);
            let is_first = streams.is_none();
            streams.get_or_insert_default().extend(transaction.numbers.keys().cloned());
            match transaction.end(outcome, is_first, retries == self.retries)? {
                Ended::Done(done) => return Ok(Transacted { retries, ..done }),
                Ended::MissedTurn => {}
                // Another command's conflict is no conflict of this one, and happens to it once at most.
                Ended::Failed(Failed::Superseded) => trust = Trust::Durable,
                Ended::Failed(Failed::Conflict(conflict)) if retries == self.retries => {
                    return Err(ExecuteError::Conflict(conflict));
                }
                Ended::Failed(Failed::Conflict(_)) => {
                    (retries, trust) = (retries + 1, Trust::Handed);
                    std::thread::sleep(backoff::wait(retries));
                }
                Ended::Failed(Failed::Store(error)) => return Err(error.into()),
            }
        }
    }

    fn repository<A: Aggregate>(&self) -> Result<Repository<A>> {
        match self.own.get() {
            Some(repository) => repository,
            None => self.kinds.get_or_make(|| Ok(self.log.clone())),
        }
    }
}

/// How one run ended, unless it failed for good.
enum Ended<T> {
    Done(Transacted<T>),
    /// Somebody else had a turn that could not be waited for.
    MissedTurn,
    Failed(Failed),
}

/// The aggregates of one transaction, as it sees them: with what they have decided in it.
///
/// What it shows may not be durable yet. Nothing leaves [`Store::transact`](crate::Store::transact) before it is.
pub struct Transaction<'a> {
    settings: &'a TransactionBuilder,
    metadata: &'a Metadata,
    trust: Trust,
    /// Turns that were taken before it began.
    turns: BTreeMap<StreamId, StreamTurn>,
    /// The greatest stream whose turn it has.
    greatest: Option<StreamId>,
    has_missed_turn: bool,
    parts: Vec<Box<dyn AnyPart>>,
    numbers: HashMap<StreamId, usize>,
    /// An event that answers its command, from an earlier time.
    ran: Option<(StreamId, Version)>,
    /// The first error of the store.
    fault: Option<Error>,
}

impl<'a> Transaction<'a> {
    /// Takes the turns of the streams that are known, in the order in which all others take them.
    fn begin(
        settings: &'a TransactionBuilder,
        metadata: &'a Metadata,
        trust: Trust,
        streams: Option<&BTreeSet<StreamId>>,
    ) -> Transaction<'a> {
        let streams = streams.into_iter().flatten();
        let taken =
            streams.filter_map(|stream| Some((stream.clone(), turn::take(&settings.log, stream)?)));
        let turns: BTreeMap<_, _> = taken.collect();
        Transaction {
            settings,
            metadata,
            trust,
            greatest: turns.keys().next_back().cloned(),
            turns,
            has_missed_turn: false,
            parts: Vec::new(),
            numbers: HashMap::new(),
            ran: None,
            fault: None,
        }
    }

    /// Returns the state of the aggregate `id`, with what it has decided in this transaction; the default one if there
    /// are no events yet. The transaction is recorded only if nobody else has changed it meanwhile.
    ///
    /// # Errors
    /// Those of [`Repository::load`](crate::Repository::load). [`AlreadyExecuted`](ErrorKind::AlreadyExecuted) if the
    /// transaction has run before: return it, or anything else, and [`transact`](crate::Store::transact) returns what
    /// was recorded then.
    pub fn load<A: Aggregate>(&mut self, id: &str) -> Result<A> {
        let loaded = self.part::<A>(id).map(|part| part.state().clone());
        loaded.inspect_err(|error| self.note(error))
    }

    /// Returns the version of the aggregate `id` that this transaction sees: with what it has decided here, and
    /// [`NONE`](Version::NONE) if there are no events yet. Compare it with the version that a client has seen, such as
    /// the `If-Match` of an HTTP request, before the aggregate decides.
    ///
    /// # Errors
    /// Those of [`load`](Transaction::load).
    pub fn version<A: Aggregate>(&mut self, id: &str) -> Result<Version> {
        let version = self.part::<A>(id).map(|part| part.version());
        version.inspect_err(|error| self.note(error))
    }

    /// Lets the aggregate `id` decide on `command`. What it decides is part of this transaction: recorded with the rest
    /// of it, and seen at once by what comes after it here.
    ///
    /// # Errors
    /// * [`Rejected`](ExecuteError::Rejected): the aggregate rejected the command. The closure may go on without it.
    /// * [`Store`](ExecuteError::Store): those of [`load`](Transaction::load), and events that cannot be stored.
    pub fn execute<A: Aggregate>(
        &mut self,
        id: &str,
        command: &A::Command,
    ) -> Result<DecidedPart<A>, ExecuteError<A::Error>> {
        let decided = self.decide(id, command);
        if let Err(ExecuteError::Store(error)) = &decided {
            self.note(error);
        }
        decided
    }

    fn decide<A: Aggregate>(
        &mut self,
        id: &str,
        command: &A::Command,
    ) -> Result<DecidedPart<A>, ExecuteError<A::Error>> {
        let part = self.part::<A>(id)?;
        let count = part.decide(command)?;
        let (events, state) = (part.last_decided(count).to_vec(), part.state().clone());
        Ok(DecidedPart { events, state, version: part.version() })
    }

    /// Keeps in mind that the store failed.
    fn note(&mut self, error: &Error) {
        if self.ran.is_none() && self.fault.is_none() {
            self.fault = Some(error.clone());
        }
    }

    fn part<A: Aggregate>(&mut self, id: &str) -> Result<&mut Part<A>> {
        let repository = self.settings.repository::<A>()?;
        let stream = repository.stream(id)?;
        let number = match self.numbers.get(&stream) {
            Some(number) => *number,
            None => self.add(&repository, &stream)?,
        };
        let part: &mut dyn Any = &mut *self.parts[number];
        part.downcast_mut().ok_or_else(|| {
            let what = std::any::type_name::<A>();
            Error::invalid(format!(
                "stream {stream} is asked for as {what}, and as something else before"
            ))
        })
    }

    fn add<A: Aggregate>(
        &mut self,
        repository: &Repository<A>,
        stream: &StreamId,
    ) -> Result<usize> {
        let number = self.parts.len();
        if number == COMMIT_STREAMS_MAX {
            let what = "a transaction";
            return Err(Error::too_large(what, number + 1, COMMIT_STREAMS_MAX, "streams"));
        }
        let turn = self.turn(stream);
        let part = repository.part(stream, turn, self.metadata, self.trust)?;
        if let Some(version) = part.ran_before() {
            self.ran = Some((stream.clone(), version));
            let message =
                format!("the transaction has run before: see version {version} of {stream}");
            return Err(Error::new(ErrorKind::AlreadyExecuted, message));
        }
        self.parts.push(Box::new(part));
        self.numbers.insert(stream.clone(), number);
        Ok(number)
    }

    /// The turn of `stream`: waited for, if no two threads can wait for each other by it.
    fn turn(&mut self, stream: &StreamId) -> Option<StreamTurn> {
        if let Some(turn) = self.turns.remove(stream) {
            return Some(turn);
        }
        if self.greatest.as_ref().is_some_and(|greatest| greatest > stream) {
            let turn = turn::try_take(&self.settings.log, stream);
            self.has_missed_turn |= turn.is_none();
            return turn;
        }
        let turn = turn::take(&self.settings.log, stream)?;
        self.greatest = Some(stream.clone());
        Some(turn)
    }

    /// Records what was decided, or finds out that there is nothing to record. In the first run, a missed turn ends it;
    /// before the last retry, a conflict with the same transaction is not looked for.
    fn end<T, E>(
        mut self,
        outcome: Result<T, E>,
        is_first: bool,
        is_last: bool,
    ) -> Result<Ended<T>, ExecuteError<E>> {
        self.turns.clear();
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        let log = self.settings.log.log();
        if let Some((stream, version)) = &self.ran {
            return Ok(Ended::Done(Transacted::before(log, stream, *version)?));
        }
        if self.has_missed_turn && is_first {
            return Ok(Ended::MissedTurn);
        }
        let ids = self.parts.iter().flat_map(|part| part.ids().iter().copied()).collect();
        let mut parts: Vec<&mut dyn AnyPart> =
            self.parts.iter_mut().map(|part| &mut **part).collect();
        let ended = match outcome {
            Ok(outcome) if parts.iter().any(|part| part.is_changed()) => {
                let committed = commit(self.settings.log.engine(), &mut parts);
                committed.map(|(committed, time)| {
                    Transacted::recorded(outcome, committed, ids, time.to_utc())
                })
            }
            outcome => match unchanged(&mut parts) {
                Ok(()) => {
                    let outcome = outcome.map_err(ExecuteError::Rejected)?;
                    Ok(Transacted::nothing(outcome, log.head_position()))
                }
                Err(failed) => Err(failed),
            },
        };
        Ok(match ended {
            Ok(done) => Ended::Done(done),
            // Perhaps the faster one was this very transaction, sent twice.
            Err(Failed::Conflict(conflict)) if is_last => match ran_meanwhile(&parts)? {
                Some((stream, version)) => Ended::Done(Transacted::before(log, &stream, version)?),
                None => Ended::Failed(Failed::Conflict(conflict)),
            },
            Err(failed) => Ended::Failed(failed),
        })
    }
}

/// Makes sure that what was seen, with nothing to be written, was true at one time and is durable.
fn unchanged(parts: &mut [&mut dyn AnyPart]) -> Result<(), Failed> {
    for part in &*parts {
        if let Some(conflict) = part.overtaken()? {
            return Err(Failed::Conflict(conflict));
        }
    }
    match stand(parts) {
        true => Ok(()),
        false => Err(Failed::Superseded),
    }
}

/// Where an event that answers the same command has been recorded meanwhile, if it was.
fn ran_meanwhile(parts: &[&mut dyn AnyPart]) -> Result<Option<(StreamId, Version)>> {
    for part in parts {
        if let Some(version) = part.ran_meanwhile()? {
            return Ok(Some((part.stream().clone(), version)));
        }
    }
    Ok(None)
}
