//! Events that an input has twice, where it does not say their versions: a source that delivers at least once.

use filmstrip::uuid::Uuid;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// Events of an input whose ids are held: a repetition is not far from what it repeats.
const HELD_MAX: usize = 1_000_000;

/// The last events of an input.
pub(super) struct Repeated {
    max: usize,
    names: RandomState,
    seen: HashSet<(u64, Uuid)>,
    order: VecDeque<(u64, Uuid)>,
}

impl Default for Repeated {
    fn default() -> Repeated {
        Repeated::holding(HELD_MAX)
    }
}

impl Repeated {
    fn holding(max: usize) -> Repeated {
        let (seen, order) = (HashSet::new(), VecDeque::new());
        Repeated { max, names: RandomState::new(), seen, order }
    }

    /// Whether an event of this stream and id is among the last ones; it is from now on.
    pub(super) fn sees(&mut self, stream: &str, id: Uuid) -> bool {
        let event = (self.names.hash_one(stream), id);
        if !self.seen.insert(event) {
            return true;
        }
        self.order.push_back(event);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_held_by_stream_and_id_until_enough_others_have_come() {
        let mut repeated = Repeated::holding(2);
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        assert!(!repeated.sees("S-1", a));
        assert!(repeated.sees("S-1", a));
        assert!(!repeated.sees("S-2", a), "another stream");
        assert!(!repeated.sees("S-1", b));
        assert!(!repeated.sees("S-1", c));
        assert!(!repeated.sees("S-1", a), "it is not held any more");
        assert_eq!((repeated.seen.len(), repeated.order.len()), (2, 2));
    }
}
