//! Whether the views can be read, and none of them is ahead of the log.

use crate::codec::projection::{Generations, ViewCheckpoint, decode};
use crate::error::{ErrorKind, Result};
use crate::finding::{Finding, FindingKind, Findings};
use crate::index::views::Views;
use crate::model::projection::trees::{CHECKPOINT, META, parked, tree_name_prefix};
use std::path::Path;
use std::sync::Arc;

/// Audits `views`, which lie in `directory`. `head` tells how far the log goes at the time of asking.
/// Returns how many views there are.
pub(crate) fn audit(
    views: &Arc<Views>,
    directory: &Path,
    head: impl Fn() -> u64,
    findings: &mut Findings,
) -> Result<u64> {
    let mut audit = Audit { views, directory, findings };
    let audited = audit.all(&head);
    match audited {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io) => {
            audit.wrong(error.to_string());
            Ok(0)
        }
        audited => audited,
    }
}

struct Audit<'a> {
    views: &'a Arc<Views>,
    directory: &'a Path,
    findings: &'a mut Findings,
}

impl Audit<'_> {
    fn all(&mut self, head: &impl Fn() -> u64) -> Result<u64> {
        let Some(meta) = self.views.existing(META)? else { return Ok(0) };
        let mut views = 0;
        for (name, bytes) in meta.states_with_prefix(b"")? {
            let name = String::from_utf8_lossy(&name).into_owned();
            let Ok(generations) = decode::<Generations>(&bytes) else {
                self.wrong(format!("the state of projection {name} is malformed"));
                continue;
            };
            for number in [Some(generations.current), generations.building].into_iter().flatten() {
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
            // One that was swapped out meanwhile is not named any more either.
            if self.is_named(name, number)? {
                self.wrong(format!("the view {tree_name} is missing"));
            }
            return Ok(());
        };
        let position = match tree.state(CHECKPOINT) {
            Ok(Some(bytes)) => decode::<ViewCheckpoint>(&bytes).map(|c| c.position),
            Ok(None) if is_served => Err("there is none".to_owned()),
            // Writing it was cut short: it is begun anew.
            Ok(None) => Ok(0),
            // It was swapped out, or removed, meanwhile; so below.
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
        match parked(&tree) {
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
