//! The trees of a projection: the served one, and the one that will replace it.
//!
//! * One entry names both, so one write swaps them.
//! * A tree that this entry does not name is not used, and is removed while the projection runs.
//! * So is a tree that was made from another history than the log's: from another store, or from another continuation
//!   of this one, after a backup was restored.

use crate::codec::frame::Chain;
use crate::codec::projection::{
    Generations, ViewCheckpoint, ViewIndexes, ViewOrigin, decode, encode,
};
use crate::log::core::Log;
use crate::log::read::frame_cursor::chain_at;
use crate::model::projection::contract::Projection;
use crate::model::projection::parked::count_parked;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::VIEW_BUILD_CHANGES_MAX;
use crate::value::position::Position;
use crate::views::changes::Change;
use crate::views::{ViewTree, Views};
use std::sync::Arc;
use uuid::Uuid;

/// The tree that holds the generations of all projections.
pub(super) const META: &str = "projections";
pub(super) const CHECKPOINT: &[u8] = b"checkpoint";
pub(super) const ORIGIN: &[u8] = b"origin";
pub(super) const INDEXES: &[u8] = b"indexes";
/// Set from the first write on that holds something of a private event.
#[cfg(feature = "erasure")]
pub(super) const PRIVATE: &[u8] = b"private";

/// What the program says of a view.
#[derive(Debug, Clone, Copy)]
pub(super) struct MadeBy {
    pub(super) version: u32,
    pub(super) indexes: &'static [&'static str],
}

impl MadeBy {
    pub(super) fn of<P: Projection>() -> MadeBy {
        MadeBy { version: P::VERSION, indexes: P::INDEXES }
    }
}

/// The trees of one projection.
pub(super) struct Trees {
    views: Arc<Views>,
    log: Arc<Log>,
    meta: ViewTree,
    name: String,
}

/// A view's position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: Position,
    /// The journal's chain after the frame that holds the position.
    pub(super) chain: Chain,
}

impl Place {
    /// The place of an empty view.
    pub(super) const START: Place = Place { position: Position::START, chain: [0; 32] };
}

/// One tree of a projection, and its place.
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) tree: Arc<ViewTree>,
    pub(super) place: Place,
}

/// The views that a projection starts with.
pub(super) struct Found {
    /// The view to be served.
    pub(super) current: Generation,
    /// The view that will replace it, if it must be rebuilt.
    pub(super) building: Option<Generation>,
}

impl Trees {
    pub(super) fn open(views: Arc<Views>, log: Arc<Log>, name: &str) -> Result<Trees> {
        let meta = views.tree(META)?;
        Ok(Trees { views, log, meta, name: name.to_owned() })
    }

    /// Finds the views that the program needs, and begins the missing ones.
    pub(super) fn find(&self, made_by: MadeBy) -> Result<Found> {
        let mut generations = self.generations()?;
        if generations.current == 0 || self.is_of_another_history(generations.current)? {
            // An empty view is better than rows from events that are not in this log.
            generations.current = self.begin(generations.newest() + 1, made_by)?;
        }
        let current = self.stored(generations.current)?;
        let begun = match generations.building {
            Some(number) if self.is_of_another_history(number)? => Some(None),
            Some(number) => Some(self.stored(number)?),
            None => None,
        };
        // A rebuild was interrupted, or its view was given up. It was requested, so begin another one.
        let is_torn = begun.as_ref().is_some_and(Option::is_none);
        let is_begun = begun.flatten().is_some_and(|begun| begun.is_by(made_by));
        let is_present = current.is_some_and(|current| current.is_by(made_by));
        if !is_begun {
            generations.building = match is_present && !is_torn {
                true => None,
                false => Some(self.begin(generations.newest() + 1, made_by)?),
            };
        }
        self.set(generations)?;
        Ok(Found {
            current: self.generation(generations.current)?,
            building: match generations.building {
                Some(number) => Some(self.generation(number)?),
                None => None,
            },
        })
    }

    /// Begins a view that will replace `current`.
    pub(super) fn begin_building(&self, current: u64, made_by: MadeBy) -> Result<Generation> {
        let number = self.begin(self.generations()?.newest() + 1, made_by)?;
        let generations = Generations { current, building: Some(number) };
        self.set(generations)?;
        self.generation(number)
    }

    /// Notes durably, before it is so, that the views' files hold something of a private event.
    #[cfg(feature = "erasure")]
    pub(super) fn note_private(&self) -> Result<()> {
        self.views.note_private()
    }

    /// Whether one of its views may hold something of a private event.
    #[cfg(feature = "erasure")]
    pub(super) fn is_private(&self) -> Result<bool> {
        for number in self.generations()?.numbers() {
            if self.views.tree(&self.tree_name(number))?.state(PRIVATE)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Syncs everything that was written.
    pub(super) fn sync(&self) -> Result<()> {
        self.views.sync()
    }

    /// Makes the tree `number` the served one, durably.
    pub(super) fn promote(&self, number: u64) -> Result<()> {
        // Sync the tree before the entry that names it.
        self.views.sync()?;
        self.set(Generations { current: number, building: None })
    }

    /// Removes every unused tree of the projection, while `goes_on` returns true. Returns whether none is left.
    pub(super) fn remove_outdated(&self, goes_on: impl Fn() -> bool) -> Result<bool> {
        self.remove_others(self.generations()?, goes_on)
    }

    /// Removes everything of the projection.
    pub(super) fn remove_all(&self) -> Result<()> {
        self.meta.write(vec![Change::State(self.name.clone().into_bytes(), None)])?;
        self.remove_others(Generations::default(), || true)?;
        self.views.sync()
    }

    fn generations(&self) -> Result<Generations> {
        let Some(bytes) = self.meta.state(self.name.as_bytes())? else {
            return Ok(Generations::default());
        };
        decode(&bytes).map_err(|what| self.damaged(&what))
    }

    fn set(&self, generations: Generations) -> Result<()> {
        let state = Change::State(self.name.clone().into_bytes(), Some(encode(&generations)));
        self.meta.write(vec![state])
    }

    /// Makes an empty tree `number`, and replaces one that a crash may have left.
    fn begin(&self, number: u64, made_by: MadeBy) -> Result<u64> {
        let name = self.tree_name(number);
        self.views.remove_tree(&name, || true)?;
        let tree = self.views.tree(&name)?;
        let store = self.log.journal.store();
        tree.write(checkpoint_changes(made_by, store, Place::START, 0))?;
        Ok(number)
    }

    fn generation(&self, number: u64) -> Result<Generation> {
        let tree = self.views.tree(&self.tree_name(number))?;
        let Some(stored) = self.stored(number)? else {
            return Ok(Generation { number, tree: Arc::new(tree), place: Place::START });
        };
        let position = Position::new(stored.checkpoint.position);
        let tree = Arc::new(tree.with_indexes(stored.indexes));
        if position > self.log.head_position() {
            // The caller refuses this view.
            let place = Place { position, ..Place::START };
            return Ok(Generation { number, tree, place });
        }
        let place = Place { position, chain: chain_at(&self.log, position)? };
        let origin = origin(self.log.journal.store(), place);
        if self.origin(&tree)? != Some(origin) {
            // An older version of filmstrip moved the checkpoint. Everything that can be checked of such a view has
            // been checked.
            tree.write(vec![origin_change(&origin)])?;
        }
        Ok(Generation { number, tree, place })
    }

    /// Whether the view was made from another history than the log's. False for a view from an older version of
    /// filmstrip and for one that is ahead of the log, because they cannot be checked.
    fn is_of_another_history(&self, number: u64) -> Result<bool> {
        let tree = self.views.tree(&self.tree_name(number))?;
        if failpoint!("views::believe_any_origin") {
            return Ok(false);
        }
        let Some(origin) = self.origin(&tree)? else { return Ok(false) };
        let (store, position) = (self.log.journal.store(), Position::new(origin.position));
        let reason = if origin.store != *store.as_bytes() {
            format!("it is of store {}, not of {store}", Uuid::from_bytes(origin.store))
        } else if position > self.log.head_position()
            || chain_at(&self.log, position)? == origin.chain
        {
            return Ok(false);
        } else {
            format!("up to position {position}, the log now holds something else")
        };
        let view = tree.name();
        tracing::warn!(view, reason, "a view was made from another history and is rebuilt");
        Ok(true)
    }

    fn origin(&self, tree: &ViewTree) -> Result<Option<ViewOrigin>> {
        let Some(bytes) = tree.state(ORIGIN)? else { return Ok(None) };
        decode(&bytes).map(Some).map_err(|what| self.damaged(&what))
    }

    /// What the tree `number` says of itself; `None` if it has no checkpoint.
    fn stored(&self, number: u64) -> Result<Option<Stored>> {
        let tree = self.views.tree(&self.tree_name(number))?;
        let Some(bytes) = tree.state(CHECKPOINT)? else { return Ok(None) };
        let checkpoint: ViewCheckpoint = decode(&bytes).map_err(|what| self.damaged(&what))?;
        let indexes = match tree.state(INDEXES)? {
            Some(bytes) => decode::<ViewIndexes>(&bytes).map_err(|what| self.damaged(&what))?,
            None => return Ok(Some(Stored { checkpoint, indexes: Vec::new() })),
        };
        // Another position, or fewer parked events: rows were changed without their entries.
        let has_moved =
            indexes.position != checkpoint.position || indexes.parked != count_parked(&tree)?;
        let is_believed = !has_moved || failpoint!("views::believe_any_indexes");
        Ok(Some(Stored {
            checkpoint,
            indexes: if is_believed { indexes.names } else { Vec::new() },
        }))
    }

    fn remove_others(&self, generations: Generations, goes_on: impl Fn() -> bool) -> Result<bool> {
        let prefix = self.tree_name_prefix();
        for name in self.views.tree_names()? {
            let number = name.strip_prefix(&prefix).and_then(|number| number.parse::<u64>().ok());
            let is_other = number.is_some_and(|number| !generations.names(number));
            if is_other && !self.views.remove_tree(&name, &goes_on)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn tree_name(&self, number: u64) -> String {
        format!("{}{number}", self.tree_name_prefix())
    }

    fn tree_name_prefix(&self) -> String {
        tree_name_prefix(&self.name)
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        let message = format!("the state of projection {} is damaged: {what}", self.name);
        Error::new(crate::value::error::ErrorKind::Corrupt, message)
    }
}

/// What a tree says of itself.
struct Stored {
    checkpoint: ViewCheckpoint,
    /// The names of the indexes that agree with its rows.
    indexes: Vec<String>,
}

impl Stored {
    /// Whether this program would make the same view.
    fn is_by(&self, made_by: MadeBy) -> bool {
        self.checkpoint.version == made_by.version
            && (self.indexes == made_by.indexes || failpoint!("views::take_any_indexes"))
    }
}

/// The prefix of the names of all trees of the projection `name`.
pub(super) fn tree_name_prefix(name: &str) -> String {
    format!("projection/{name}/")
}

impl Generations {
    fn newest(&self) -> u64 {
        self.building.unwrap_or(0).max(self.current)
    }

    fn names(&self, number: u64) -> bool {
        self.numbers().any(|named| named == number)
    }

    /// The numbers of the used trees.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        std::iter::once(self.current).chain(self.building)
    }
}

/// The changes that move a view's checkpoint, with so many events parked. The last one is the checkpoint itself.
pub(super) fn checkpoint_changes(
    made_by: MadeBy,
    store: Uuid,
    place: Place,
    parked: u64,
) -> Vec<Change> {
    let position = place.position.get();
    let mut changes = vec![origin_change(&origin(store, place))];
    if !made_by.indexes.is_empty() {
        let names = made_by.indexes.iter().map(|name| (*name).to_owned()).collect();
        let indexes = encode(&ViewIndexes { names, position, parked });
        changes.push(Change::State(INDEXES.to_vec(), Some(indexes)));
    }
    let checkpoint = ViewCheckpoint { version: made_by.version, position };
    changes.push(Change::State(CHECKPOINT.to_vec(), Some(encode(&checkpoint))));
    changes
}

fn origin_change(origin: &ViewOrigin) -> Change {
    Change::State(ORIGIN.to_vec(), Some(encode(origin)))
}

fn origin(store: Uuid, place: Place) -> ViewOrigin {
    let Place { position, chain } = place;
    ViewOrigin { store: store.into_bytes(), position: position.get(), chain }
}

/// Makes `changes`, the last of which moves the checkpoint, to a view that nobody reads yet. They are written in
/// parts: after a failure or a crash in between, the view has no checkpoint and is rebuilt.
pub(super) fn write_in_parts(tree: &ViewTree, changes: Vec<Change>) -> Result<()> {
    if changes.len() <= VIEW_BUILD_CHANGES_MAX {
        return tree.write(changes);
    }
    let uncover = vec![Change::State(CHECKPOINT.to_vec(), None)];
    let mut rest = changes.into_iter();
    let parts = std::iter::from_fn(|| {
        let part: Vec<_> = rest.by_ref().take(VIEW_BUILD_CHANGES_MAX).collect();
        (!part.is_empty()).then_some(part)
    });
    tree.write_each(std::iter::once(uncover).chain(parts))
}
