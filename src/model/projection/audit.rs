//! Audits views: they must be readable, come from the log's history, and not be ahead of the log.

use crate::codec::frame::Chain;
use crate::codec::projection::{Generations, ViewCheckpoint, ViewOrigin, decode};
use crate::model::projection::parked::each_parked;
use crate::model::projection::trees::{CHECKPOINT, META, ORIGIN, tree_name_prefix};
use crate::value::corruption::Corruption;
use crate::value::error::{ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::finding::{Finding, FindingKind, Findings};
use crate::views::Views;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// The origins of the views: the history that each was made from.
#[derive(Debug, Default)]
pub(crate) struct Origins(Vec<(String, ViewOrigin)>);

impl Origins {
    /// Reads the origins of `views`. Skips unreadable ones, which the audit reports.
    pub(crate) fn of(views: &Arc<Views>) -> Result<Origins> {
        let mut origins = Vec::new();
        let named = match named(views) {
            Err(error) if error.is_unreadable() => Vec::new(),
            named => named?,
        };
        for (name, generations) in named {
            let Ok(generations) = generations else { continue };
            for number in generations.numbers() {
                let tree_name = format!("{}{number}", tree_name_prefix(&name));
                let origin = views.existing(&tree_name).and_then(|tree| match tree {
                    Some(tree) => tree.state(ORIGIN),
                    None => Ok(None),
                });
                let origin = origin.ok().flatten().and_then(|bytes| decode(&bytes).ok());
                origins.extend(origin.map(|origin| (tree_name, origin)));
            }
        }
        Ok(Origins(origins))
    }

    /// The positions for which `check` needs the journal's chain.
    pub(crate) fn positions(&self) -> BTreeSet<u64> {
        self.0.iter().map(|(_, origin)| origin.position).collect()
    }

    /// Adds a finding for each view in `directory` that is not of `store`, or was made from another history than the
    /// one with the journal's `chains`.
    pub(crate) fn check(
        &self,
        directory: &Path,
        store: Uuid,
        chains: &BTreeMap<u64, Chain>,
        findings: &mut Findings,
    ) {
        for (tree, origin) in &self.0 {
            let (of, position) = (Uuid::from_bytes(origin.store), origin.position);
            let what = match chains.get(&position) {
                _ if failpoint!("doctor::believe_any_view") => continue,
                _ if of != store => format!("{tree} is of store {of}, not of {store}"),
                Some(chain) if *chain != origin.chain => {
                    format!("{tree} was made from another history than the log's up to {position}")
                }
                _ => continue,
            };
            findings.add(Finding::new(FindingKind::View, directory, what));
        }
    }
}

/// Audits `views`, which are in `directory`. `head` returns the current head. Returns the number of views.
pub(crate) fn audit(
    views: &Arc<Views>,
    directory: &Path,
    head: impl Fn() -> u64,
    findings: &mut Findings,
) -> Result<u64> {
    let mut audit = Audit { views, directory, findings };
    let audited = audit.all(&head);
    match audited {
        Err(error) if error.is_unreadable() => {
            audit.wrong(error.to_string());
            Ok(0)
        }
        audited => audited,
    }
}

/// The projections that have views, with the numbers of their trees.
fn named(views: &Arc<Views>) -> Result<Vec<(String, Result<Generations, Corruption>)>> {
    let Some(meta) = views.existing(META)? else { return Ok(Vec::new()) };
    let states = meta.states_with_prefix(b"")?.into_iter();
    let named = states.map(|(name, bytes)| {
        (String::from_utf8_lossy(&name).into_owned(), decode::<Generations>(&bytes))
    });
    Ok(named.collect())
}

struct Audit<'a> {
    views: &'a Arc<Views>,
    directory: &'a Path,
    findings: &'a mut Findings,
}

impl Audit<'_> {
    fn all(&mut self, head: &impl Fn() -> u64) -> Result<u64> {
        let mut views = 0;
        for (name, generations) in named(self.views)? {
            let Ok(generations) = generations else {
                self.wrong(format!("the state of projection {name} is malformed"));
                continue;
            };
            for number in generations.numbers() {
                views += 1;
                self.view(&name, number, number == generations.current, head)?;
            }
        }
        Ok(views)
    }

    fn view(
        &mut self,
        name: &str,
        number: u64,
        is_served: bool,
        head: &impl Fn() -> u64,
    ) -> Result<()> {
        let tree_name = format!("{}{number}", tree_name_prefix(name));
        let Some(tree) = self.views.existing(&tree_name)? else {
            // A view that was replaced meanwhile is no longer named either.
            if self.is_named(name, number)? {
                self.wrong(format!("the view {tree_name} is missing"));
            }
            return Ok(());
        };
        let position = match tree.state(CHECKPOINT) {
            Ok(Some(bytes)) => match decode::<ViewCheckpoint>(&bytes) {
                Ok(checkpoint) => Ok(checkpoint.position),
                Err(what) => Err(what.to_string()),
            },
            Ok(None) if is_served => Err("there is none".to_owned()),
            // A write was interrupted, so the view is rebuilt.
            Ok(None) => Ok(0),
            // The view was replaced or removed meanwhile. The same applies below.
            Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
            Err(error) => Err(error.to_string()),
        };
        match position {
            Err(what) => self.wrong(format!("the checkpoint of {tree_name} is damaged: {what}")),
            Ok(position) => {
                let head = head();
                if position > head {
                    let what = format!("{tree_name} is at position {position}, the log at {head}");
                    self.wrong(what);
                }
            }
        }
        match each_parked(&tree, |_, _| Ok(())) {
            Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
            Err(error) => self.wrong(error.to_string()),
            Ok(_) => {}
        }
        let mut unreadable = Vec::new();
        let read = tree.each_unreadable(|what| unreadable.push(what));
        for what in unreadable {
            self.wrong(format!("{tree_name}: {what}"));
        }
        match read {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
            read => read,
        }
    }

    fn is_named(&self, name: &str, number: u64) -> Result<bool> {
        let Some(meta) = self.views.existing(META)? else { return Ok(false) };
        let Some(bytes) = meta.state(name.as_bytes())? else { return Ok(false) };
        let generations: Generations = decode(&bytes).unwrap_or_default();
        Ok(generations.current == number || generations.building == Some(number))
    }

    fn wrong(&mut self, what: String) {
        self.findings.add(Finding::new(FindingKind::View, self.directory, what));
    }
}
