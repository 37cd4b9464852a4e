//! Which instances of a process have something to do, and what waits for them.
//!
//! * An instance's events are reacted to in order, each when the effects of its earlier own events are done.
//! * An event that the cursor is past is ingested, unless its instance is here and it is at or after the position from
//!   which on that instance's events wait.
//! * What does not fit memory is only known to wait, and is read again.

use crate::model::process::pending::Pending;
use crate::value::failpoint::failpoint;
use crate::value::limits::{INSTANCE_WAITING_MAX, INSTANCES_WAITING_BYTES_MAX};
use crate::value::position::Position;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// What names an instance.
pub(crate) type Id = Arc<str>;

/// The instances that have something to do, with their waiting events of type `E`.
pub(crate) struct Schedule<E> {
    active: HashMap<Id, Active<E>>,
    /// What is done up to, for each that is not parked; how many are at each position.
    floors: BTreeMap<Position, usize>,
    parked: usize,
    /// How many wait for their events to be read again.
    rereading: usize,
    /// Whose effects are to go to a lane, in order.
    ready: VecDeque<Id>,
    waiting_bytes: usize,
    /// Events that wait in memory for one instance at most.
    waiting_max: usize,
}

struct Active<E> {
    effects: Pending,
    waits: VecDeque<Waiting<E>>,
    /// `waits` has its events up to here only; all of them if `None`.
    complete_to: Option<Position>,
    /// Everything up to here is done with, as far as it concerns this instance.
    floor: Position,
    state: State,
}

struct Waiting<E> {
    position: Position,
    bytes: usize,
    event: E,
}

/// What an instance is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A step of it is under way, or will be tried again.
    Busy,
    /// Its effects are to go to a lane.
    Ready,
    /// Its effects are with a lane.
    InLane,
    /// Its events are to be read again.
    Rereading,
    Parked,
}

/// What an instance has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Its effects.
    Effects,
    /// To react to the first event that waits.
    Event(Position),
    /// To wait for its events to be read again.
    Reread,
    Nothing,
}

impl<E> Schedule<E> {
    pub(crate) fn new() -> Schedule<E> {
        Schedule {
            active: HashMap::new(),
            floors: BTreeMap::new(),
            parked: 0,
            rereading: 0,
            ready: VecDeque::new(),
            waiting_bytes: 0,
            waiting_max: INSTANCE_WAITING_MAX,
        }
    }

    /// The same with room for so many waiting events of one instance.
    #[cfg(test)]
    pub(crate) fn with_room(waiting_max: usize) -> Schedule<E> {
        Schedule { waiting_max, ..Schedule::new() }
    }

    /// How many have something to do and are not parked.
    pub(crate) fn busy(&self) -> usize {
        self.active.len() - self.parked
    }

    pub(crate) fn is_active(&self, id: &str) -> bool {
        self.active.contains_key(id)
    }

    pub(crate) fn state(&self, id: &str) -> Option<State> {
        self.active.get(id).map(|active| active.state)
    }

    /// The id as it is held here.
    pub(crate) fn id(&self, id: &str) -> Option<Id> {
        self.active.get_key_value(id).map(|(id, _)| Arc::clone(id))
    }

    /// The instance `id`, which had nothing to do, has something. Everything up to `floor` is done with.
    pub(crate) fn activate(&mut self, id: &Id, floor: Position) {
        let (effects, waits) = (Pending::default(), VecDeque::new());
        let active = Active { effects, waits, complete_to: None, floor, state: State::Busy };
        let before = self.active.insert(Arc::clone(id), active);
        debug_assert!(before.is_none(), "an instance is active once");
        raise(&mut self.floors, None, Some(floor));
    }

    /// What a restart has found of the instance `id`: its effects to come, and from where on its events wait.
    /// Everything up to `done` is done with.
    pub(crate) fn restore(
        &mut self,
        id: &Id,
        effects: Pending,
        waits_from: Option<Position>,
        done: Position,
    ) {
        let before = |position: Position| Position::new(position.get().saturating_sub(1));
        let complete_to = waits_from.map(before);
        if !self.is_active(id) {
            // Which event its effects are of is not known any more, but none that is done with.
            let done =
                if failpoint!("process::forget_what_was_done") { Position::START } else { done };
            let floor = complete_to.filter(|_| effects.is_empty()).unwrap_or(done);
            self.activate(id, floor);
        }
        let active = self.at(id);
        (active.effects, active.complete_to) = (effects, complete_to);
    }

    /// The instance `id` has nothing left to do.
    pub(crate) fn retire(&mut self, id: &str) {
        let Some(active) = self.active.remove(id) else { return };
        self.waiting_bytes -= active.waits.iter().map(|waiting| waiting.bytes).sum::<usize>();
        self.rereading -= usize::from(active.state == State::Rereading);
        match active.state {
            State::Parked => self.parked -= 1,
            _ => raise(&mut self.floors, Some(active.floor), None),
        }
    }

    /// Own events of the instance `id` were recorded, whose effects are to come.
    pub(crate) fn recorded(&mut self, id: &str, first: u64, last: u64) {
        self.at(id).effects.extend(first, last);
    }

    pub(crate) fn effects(&self, id: &str) -> Pending {
        self.active.get(id).map(|active| active.effects.clone()).unwrap_or_default()
    }

    /// The first effects of the instance `id` are done, so many.
    pub(crate) fn effects_done(&mut self, id: &str, count: u64) {
        let effects = &mut self.at(id).effects;
        (0..count).for_each(|_| effects.remove_first());
    }

    /// The effect of the own event at `version` is to come again.
    pub(crate) fn effect_again(&mut self, id: &str, version: u64) {
        self.at(id).effects.insert(version);
    }

    /// The event at `position`, the next one of the active instance `id`, waits for its turn. If there is no room, it
    /// will be read again.
    pub(crate) fn wait(&mut self, id: &str, position: Position, bytes: usize, event: E) {
        let full = self.waiting_bytes + bytes > INSTANCES_WAITING_BYTES_MAX;
        let waiting_max = self.waiting_max;
        let active = self.at(id);
        if active.complete_to.is_some() {
            return;
        }
        let is_first = active.waits.is_empty() && active.effects.is_empty();
        if active.state == State::Parked
            || (!is_first && (full || active.waits.len() >= waiting_max))
        {
            active.complete_to = Some(Position::new(position.get() - 1));
            return;
        }
        active.waits.push_back(Waiting { position, bytes, event });
        self.waiting_bytes += bytes;
    }

    /// The event at `position` was read again. False if there is no room for it now.
    pub(crate) fn wait_again(
        &mut self,
        id: &str,
        position: Position,
        bytes: usize,
        event: E,
    ) -> bool {
        let full = self.waiting_bytes + bytes > INSTANCES_WAITING_BYTES_MAX;
        let waiting_max = self.waiting_max;
        let Some(active) = self.active.get_mut(id) else { return true };
        if active.state == State::Parked || active.complete_to.is_none_or(|to| position <= to) {
            return true;
        }
        if !active.waits.is_empty() && (full || active.waits.len() >= waiting_max) {
            return false;
        }
        active.complete_to = Some(position);
        active.waits.push_back(Waiting { position, bytes, event });
        self.waiting_bytes += bytes;
        true
    }

    /// All events up to `position` were read again; `caught_up`: there are no others. Returns the instances that waited
    /// for that.
    pub(crate) fn read_again(&mut self, position: Position, caught_up: bool) -> Vec<Id> {
        let mut woken = Vec::new();
        for (id, active) in &mut self.active {
            let Some(to) = active.complete_to.filter(|_| active.state != State::Parked) else {
                continue;
            };
            active.complete_to = Some(to.max(position)).filter(|_| !caught_up);
            if active.state == State::Rereading && (caught_up || !active.waits.is_empty()) {
                active.state = State::Busy;
                self.rereading -= 1;
                woken.push(Arc::clone(id));
            }
        }
        woken
    }

    /// After which position events have to be read again, if any instance waits for that; it is the earliest of all
    /// that lack some.
    pub(crate) fn to_reread(&self) -> Option<Position> {
        if self.rereading == 0 {
            return None;
        }
        let lacking = self.active.values().filter(|active| active.state != State::Parked);
        lacking.filter_map(|active| active.complete_to).min()
    }

    /// What the instance `id` has to do next.
    pub(crate) fn next(&mut self, id: &str) -> Next {
        let active = self.active.get_mut(id).expect("it has something to do");
        let next = match (active.waits.front(), active.complete_to) {
            _ if !active.effects.is_empty() && !failpoint!("process::react_before_effects") => {
                return Next::Effects;
            }
            (Some(first), _) => Next::Event(first.position),
            (None, Some(_)) => {
                let before = std::mem::replace(&mut active.state, State::Rereading);
                self.rereading += usize::from(before != State::Rereading);
                Next::Reread
            }
            (None, None) => return Next::Nothing,
        };
        // Whatever came before is done with.
        let floor = match (next, active.complete_to) {
            (Next::Event(position), _) => Position::new(position.get() - 1),
            (_, to) => to.unwrap_or(active.floor),
        };
        let before = std::mem::replace(&mut active.floor, floor);
        raise(&mut self.floors, Some(before), Some(floor));
        next
    }

    /// The first event that waits for the instance `id`.
    pub(crate) fn first(&self, id: &str) -> Option<&E> {
        self.active.get(id)?.waits.front().map(|waiting| &waiting.event)
    }

    /// The first event that waits for the instance `id` is ingested.
    pub(crate) fn ingested(&mut self, id: &str) {
        if let Some(waiting) = self.at(id).waits.pop_front() {
            self.waiting_bytes -= waiting.bytes;
        }
    }

    /// From which position on events of the instance `id` wait.
    pub(crate) fn waits_from(&self, id: &str) -> Option<Position> {
        let active = self.active.get(id)?;
        let first = active.waits.front().map(|waiting| waiting.position);
        let lacking = || active.complete_to.map(|to| Position::new(to.get() + 1));
        first.or_else(lacking)
    }

    /// The first position from which on events of any instance wait, parked ones too.
    pub(crate) fn first_wait(&self) -> Option<Position> {
        self.active.keys().filter_map(|id| self.waits_from(id)).min()
    }

    /// The instance `id` rests until somebody lets it go on. Nothing that waits for it is held in memory.
    pub(crate) fn park(&mut self, id: &str) {
        let from = self.waits_from(id);
        let active = self.at(id);
        active.complete_to = from.map(|from| Position::new(from.get() - 1));
        let waits = std::mem::take(&mut active.waits);
        let (floor, state) = (active.floor, std::mem::replace(&mut active.state, State::Parked));
        self.waiting_bytes -= waits.iter().map(|waiting| waiting.bytes).sum::<usize>();
        self.rereading -= usize::from(state == State::Rereading);
        if state != State::Parked {
            raise(&mut self.floors, Some(floor), None);
            self.parked += 1;
        }
    }

    /// The event at `position`, the first that waits for the instance `id`, is given up.
    pub(crate) fn give_up(&mut self, id: &str, position: Position) {
        let active = self.at(id);
        match active.waits.front() {
            Some(first) if first.position == position => self.ingested(id),
            Some(_) => {}
            None => active.complete_to = active.complete_to.map(|to| to.max(position)),
        }
    }

    /// The parked instance `id` goes on.
    pub(crate) fn unpark(&mut self, id: &str) {
        let active = self.at(id);
        if active.state == State::Parked {
            active.state = State::Busy;
            let floor = active.complete_to.unwrap_or(active.floor);
            active.floor = floor;
            raise(&mut self.floors, None, Some(floor));
            self.parked -= 1;
        }
    }

    /// Up to where everything is done with, if anything is under way.
    pub(crate) fn floor(&self) -> Option<Position> {
        self.floors.first_key_value().map(|(floor, _)| *floor)
    }

    /// The effects of the instance `id` can go to a lane when its events are durable.
    pub(crate) fn make_ready(&mut self, id: &Id) {
        let active = self.at(id);
        if active.state == State::Busy || failpoint!("process::run_in_two_lanes") {
            active.state = State::Ready;
            self.ready.push_back(Arc::clone(id));
        }
    }

    /// The next instance for a lane, with its effects.
    pub(crate) fn give_to_lane(&mut self) -> Option<(Id, Pending)> {
        let id = self.ready.pop_front()?;
        let active = self.at(&id);
        active.state = State::InLane;
        let effects = active.effects.clone();
        Some((id, effects))
    }

    /// The instance `id` is back from its lane.
    pub(crate) fn back_from_lane(&mut self, id: &str) {
        if let Some(active) = self.active.get_mut(id).filter(|active| active.state == State::InLane)
        {
            active.state = State::Busy;
        }
    }

    /// Those that are busy and nothing more: neither with a lane, nor waiting for anything.
    pub(crate) fn all_busy(&self) -> Vec<Id> {
        let busy = self.active.iter().filter(|(_, active)| active.state == State::Busy);
        busy.map(|(id, _)| Arc::clone(id)).collect()
    }

    /// How many events wait in memory.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.active.values().map(|active| active.waits.len()).sum()
    }

    fn at(&mut self, id: &str) -> &mut Active<E> {
        self.active.get_mut(id).expect("it has something to do")
    }
}

/// One instance's floor was at `from`, and is at `to`.
fn raise(floors: &mut BTreeMap<Position, usize>, from: Option<Position>, to: Option<Position>) {
    if let Some(to) = to {
        *floors.entry(to).or_insert(0) += 1;
    }
    let Some(from) = from else { return };
    if let Some(count) = floors.get_mut(&from) {
        *count -= 1;
        if *count == 0 {
            floors.remove(&from);
        }
    }
}

#[cfg(test)]
mod tests;
