//! Rows of a view, whatever their type: as JSON.

use crate::json::Json;
use crate::limits::PAGE_ROWS;
use filmstrip::Result;
use filmstrip::projection::{ProjectionHandle, Rows};
use serde_json::value::RawValue;

pub(crate) struct ViewRow {
    pub(crate) key: String,
    pub(crate) json: Json,
}

/// A page of the rows of a running projection's view, and one row more if there is one.
pub(crate) fn newest(handle: &ProjectionHandle, prefix: &str, after: &str) -> Result<Vec<ViewRow>> {
    page(handle.view().rows(), prefix, after)
}

pub(crate) fn page(rows: Rows<'_>, prefix: &str, after: &str) -> Result<Vec<ViewRow>> {
    let mut rows = rows.prefix(prefix).limit(PAGE_ROWS as u64 + 1);
    if !after.is_empty() {
        rows = rows.after(after);
    }
    // One by one, because a row may be long and a page shows its beginning.
    rows.iter::<Box<RawValue>>().map(|row| row.map(|(key, json)| view_row(key, &json))).collect()
}

fn view_row(key: String, json: &RawValue) -> ViewRow {
    ViewRow { key, json: Json::beginning(json.get().as_bytes()) }
}
