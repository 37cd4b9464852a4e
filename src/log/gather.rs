//! Gathering what `admit` needs to know: the leader's one look at tail, index and journal.

use crate::codec::envelope;
use crate::codec::record::{self, Record};
use crate::codec::state::StreamState;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::HEAD_CACHE_STREAMS;
use crate::log::admit::{Facts, StoredEvent, compared_versions};
use crate::log::commit::{Proposal, ProposedAppend};
use crate::log::core::Log;
use crate::stream::StreamId;
use std::collections::HashMap;

/// The states of the streams that were last written: what saves a look-up for each append.
///
/// Two generations: a full young one becomes the old one, and what is asked for again is young again.
/// So about `HEAD_CACHE_STREAMS` are kept, and eviction costs nothing. It happens between groups
/// only: the leader finds what it gathered.
#[derive(Default)]
pub(crate) struct Heads {
    young: HashMap<StreamId, StreamState>,
    old: HashMap<StreamId, StreamState>,
}

impl Heads {
    /// The state of `stream`, which the leader has gathered or written in this group.
    pub(crate) fn get(&self, stream: &StreamId) -> Option<&StreamState> {
        self.young.get(stream).or_else(|| self.old.get(stream))
    }

    /// Remembers the state of `stream`.
    pub(crate) fn put(&mut self, stream: &StreamId, state: StreamState) {
        if let Some(young) = self.young.get_mut(stream) {
            *young = state;
            return;
        }
        self.young.insert(stream.detached(), state);
    }

    fn begin_group(&mut self) {
        if self.young.len() >= HEAD_CACHE_STREAMS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

/// Everything that `admit` asks about `proposals`.
pub(crate) fn gather(log: &Log, heads: &mut Heads, proposals: &[&Proposal]) -> Result<Facts> {
    heads.begin_group();
    let mut facts = Facts { head: log.head.position(), ..Facts::default() };
    for proposal in proposals {
        for append in &proposal.appends {
            let version = gather_version(log, heads, &mut facts, &append.stream)?;
            if let Some(versions) = compared_versions(append, version) {
                gather_stored(log, &mut facts, proposal, append, versions)?;
            }
        }
        for (stream, _) in &proposal.checks {
            gather_version(log, heads, &mut facts, stream)?;
        }
        for record in &proposal.records {
            if let Record::Tracked { consumer, .. } = record {
                let tracked = tracked(log, consumer)?;
                facts.tracked.insert(consumer.clone(), tracked);
            }
        }
    }
    Ok(facts)
}

/// How far `consumer` has taken in another log; 0 if it never did.
pub(crate) fn tracked(log: &Log, consumer: &str) -> Result<u64> {
    let Some(bytes) = log.record(&record::tracked_key(consumer))? else { return Ok(0) };
    record::tracked_position(&bytes).ok_or_else(|| {
        let message = format!("what is kept of consumer {consumer:?} is damaged");
        Error::new(ErrorKind::Corrupt, message)
    })
}

fn gather_version(
    log: &Log,
    heads: &mut Heads,
    facts: &mut Facts,
    stream: &StreamId,
) -> Result<u64> {
    if let Some(version) = facts.versions.get(stream) {
        return Ok(*version);
    }
    let state = match heads.get(stream) {
        Some(state) => *state,
        None => log.stream_state(stream)?.unwrap_or_else(StreamState::absent),
    };
    let version = state.version.get();
    // Put even what was found: a stream that is in use stays in the young generation.
    heads.put(stream, state);
    facts.versions.insert(stream.clone(), version);
    Ok(version)
}

/// Adds the durable events that a repetition of `append` would have written, as far as they agree:
/// the first difference decides, and a conflict costs one read.
fn gather_stored(
    log: &Log,
    facts: &mut Facts,
    proposal: &Proposal,
    append: &ProposedAppend,
    versions: std::ops::RangeInclusive<u64>,
) -> Result<()> {
    let mut proposed = proposal.events[append.events.clone()].iter();
    let (mut next, last) = versions.into_inner();
    while next <= last {
        let page = log.stream_page(&append.stream, next)?;
        for event in page.into_iter().take_while(|event| event.version <= last) {
            let digest = envelope::digest(&event.envelope);
            let id = envelope::id(&event.envelope).unwrap_or_default();
            let same = proposed.next().is_some_and(|p| p.id == id && p.digest == digest);
            let stored = StoredEvent { id, digest, position: event.position };
            facts.stored.insert((append.stream.clone(), event.version), stored);
            if !same {
                return Ok(());
            }
            next = event.version + 1;
        }
    }
    Ok(())
}
