//! What the conditions of a group's commits exclude: the durable events, and those that the group admitted before.

use crate::log::commit::admission::Admission;
use crate::log::commit::condition::Match;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::in_group::{GroupConditions, GroupMatch};
use crate::log::commit::outcome::Appended;
use crate::log::commit::recorded::recorded_in_group;
use crate::value::failpoint::failpoint;

/// What the conditions of the group's commits exclude.
pub(super) struct Conditions<'a> {
    group: &'a [EncodedCommit],
    /// The durable matches, in order.
    durable: Vec<(usize, usize, Match)>,
    /// The conditions beside what the group has admitted; made once it has admitted an event of several commits.
    in_group: Option<GroupConditions<'a>>,
}

/// What the conditions of one commit exclude.
pub(super) struct Excluded {
    /// The place of the first condition that excludes something.
    pub(super) condition: usize,
    /// The position of its first match.
    pub(super) position: u64,
    /// Where the commit's events are, if one of the matches is one of them.
    pub(super) recorded: Option<Vec<Appended>>,
}

impl<'a> Conditions<'a> {
    /// Without an event of the group yet.
    pub(super) fn new(
        group: &'a [EncodedCommit],
        durable: Vec<(usize, usize, Match)>,
    ) -> Conditions<'a> {
        Conditions { group, durable, in_group: None }
    }

    /// What the conditions of the commit `number` exclude, after those before it got these admissions.
    pub(super) fn excluded(
        &self,
        number: usize,
        admissions: &[Admission],
    ) -> Option<Box<Excluded>> {
        let places = 0..self.group.get(number)?.conditions().len();
        let mut matches =
            places.filter_map(|place| Some((place, self.first_match(number, place, admissions)?)));
        let (condition, Match { position, recorded }) = matches.next()?;
        let recorded = recorded.or_else(|| matches.find_map(|(_, found)| found.recorded));
        Some(Box::new(Excluded { condition, position, recorded }))
    }

    fn first_match(&self, number: usize, place: usize, admissions: &[Admission]) -> Option<Match> {
        let durable = self.durable.binary_search_by_key(&(number, place), |(n, p, _)| (*n, *p));
        match durable {
            Ok(at) => Some(self.durable[at].2.clone()),
            Err(_) => self.match_in_group(number, place, admissions),
        }
    }

    fn match_in_group(
        &self,
        number: usize,
        place: usize,
        admissions: &[Admission],
    ) -> Option<Match> {
        let GroupMatch { position, commit, event } =
            self.in_group.as_ref()?.first_match(number, place)?;
        let (encoded, earlier) = (&self.group[number], &self.group[commit]);
        let recorded =
            admissions.get(commit).and_then(Admission::placement).and_then(|placement| {
                let versions = placement.appends.iter().map(|placed| placed.first_version);
                recorded_in_group(encoded, earlier, placement.first_position, versions, event)
            });
        Some(Match { position, recorded })
    }

    /// The events of the commit `number` are admitted, from this position on.
    #[cold]
    pub(super) fn note(&mut self, number: usize, first_position: u64) {
        let is_alone = self.group.len() == 1 && !failpoint!("log::judge_own_events");
        if is_alone || failpoint!("log::overlook_the_group") {
            return;
        }
        let group = self.group;
        let in_group = self.in_group.get_or_insert_with(|| GroupConditions::new(group));
        in_group.note(number, &group[number], first_position);
    }
}
