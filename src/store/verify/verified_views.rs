//! The views of a store that is verified: an open store's own, or a copy of a closed store's.

use crate::kv::failure::OpenError;
use crate::kv::files::copy_all;
use crate::model::projection;
use crate::model::projection::audit::Origins;
use crate::storage::disk::{Disk, RealDisk};
use crate::store::scratch::{Purpose, Scratch};
use crate::value::error::Result;
use crate::value::finding::{Finding, FindingKind, Findings};
use crate::value::limits::VERIFY_CACHE_BYTES;
use crate::views::note;
use crate::views::{VIEWS, Views, is_directory};
use std::path::Path;
use std::sync::Arc;

/// A copy of the views, if there are any.
pub(super) fn copy_views(
    disk: &dyn Disk,
    path: &Path,
    findings: &mut Findings,
) -> Result<Option<Scratch>> {
    let directory = path.join(VIEWS);
    match is_directory(disk, &directory)? {
        None => return Ok(None),
        Some(true) => {}
        Some(false) => {
            let what = "it is not a directory; it is quarantined when a view is next opened";
            findings.add(Finding::new(FindingKind::View, &directory, what));
            return Ok(None);
        }
    }
    let copy = Scratch::new(Purpose::Copy)?;
    match copy_all(&directory, &copy.path().join(VIEWS)) {
        Ok(()) => Ok(Some(copy)),
        Err(error) => {
            findings.add(Finding::new(FindingKind::Unreadable, &directory, error.to_string()));
            Ok(None)
        }
    }
}

/// The views of a store that is verified.
pub(super) enum SomeViews {
    /// There are none, or none that can be read.
    None,
    /// Those of an open store.
    Live(Arc<Views>),
    /// A copy of those of a closed store, which is removed with it.
    Still { views: Arc<Views>, _copy: Scratch },
}

impl SomeViews {
    pub(super) fn still(
        path: &Path,
        copy: Option<Scratch>,
        findings: &mut Findings,
    ) -> Result<SomeViews> {
        let Some(copy) = copy else { return Ok(SomeViews::None) };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        match Views::open_existing(&disk, copy.path(), VERIFY_CACHE_BYTES) {
            Ok(views) => Ok(SomeViews::Still { views, _copy: copy }),
            Err(OpenError::System(error)) => Err(error),
            Err(OpenError::Unusable(reason)) => {
                findings.add(Finding::new(
                    FindingKind::View,
                    &path.join(VIEWS),
                    reason.to_string(),
                ));
                Ok(SomeViews::None)
            }
        }
    }

    fn views(&self) -> Option<&Arc<Views>> {
        match self {
            SomeViews::None => None,
            SomeViews::Live(views) | SomeViews::Still { views, .. } => Some(views),
        }
    }

    /// The history that they say they are of.
    pub(super) fn origins(&self) -> Result<Origins> {
        self.views().map_or_else(|| Ok(Origins::default()), Origins::of)
    }

    /// Audits them, and closes a copy. Returns how many views there are.
    pub(super) fn audit(
        self,
        disk: &dyn Disk,
        path: &Path,
        head: impl Fn() -> u64,
        findings: &mut Findings,
    ) -> Result<u64> {
        if !matches!(self, SomeViews::Live(_)) {
            let there = self.views().map(|views| views.tree_names()).transpose()?;
            for (file, what) in note::lacking(disk, path, &path.join(VIEWS), there)? {
                findings.add(Finding::new(FindingKind::View, &file, what));
            }
        }
        let Some(views) = self.views() else { return Ok(0) };
        let audited = projection::audit::audit(views, &path.join(VIEWS), head, findings);
        if let SomeViews::Still { views, .. } = &self
            && let Err(error) = views.close()
        {
            tracing::warn!(%error, "the copy of the views could not be closed cleanly");
        }
        audited
    }
}
