//! What an operator's page shows of a store, as JSON: each name and shape is kept, because programs read it.

use crate::follow::parked::Parked;
use crate::journal::torn::TornWrite;
use crate::log::read::stream_info::StreamInfo;
use crate::model::policy::Retrying;
use crate::model::process::status::{self as process, ParkedKind, ProcessState, ProcessStatus};
use crate::model::projection::status::{ProjectionState, ProjectionStatus};
use crate::store::backup::Backup;
use crate::store::repair::{CutStream, Exported, IndexRebuilt, Renumbered};
use crate::store::verify::{Unchecked, Verification};
use crate::value::error::{Error, ErrorKind};
use crate::value::finding::{Finding, FindingKind};
use crate::value::head_hash::{HashCheck, HeadHash};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::path::Path;

fn is<T: Serialize>(value: &T, golden: &str) {
    assert_eq!(serde_json::to_string(value).unwrap(), golden);
}

fn at(position: u64) -> Position {
    Position::new(position)
}

fn time() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_764_252_000_000_250).unwrap()
}

fn retrying() -> Option<Retrying> {
    let (what, cause) = ("event 7 of Door-1".to_owned(), "no".to_owned());
    Some(Retrying { what, failures: 2, cause })
}

#[test]
fn a_projection_is_shown_in_each_of_its_states() {
    let status = |state| ProjectionStatus {
        state,
        checkpoint: at(6),
        lag: 3,
        parked: 1,
        retrying: retrying(),
    };
    is(
        &status(ProjectionState::Running),
        r#"{"state":{"name":"running"},"checkpoint":6,"lag":3,"parked":1,"retrying":{"what":"event 7 of Door-1","failures":2,"cause":"no"}}"#,
    );
    let rebuilding = ProjectionState::Rebuilding { done: at(2), of: at(9) };
    is(&rebuilding, r#"{"name":"rebuilding","done":2,"of":9}"#);
    is(&ProjectionState::Paused, r#"{"name":"paused"}"#);
    is(&ProjectionState::Stopped, r#"{"name":"stopped"}"#);
    is(
        &ProjectionState::Faulted(Error::new(ErrorKind::StorageFull, "the disk is full")),
        r#"{"name":"faulted","error":{"kind":"storage_full","message":"the disk is full","damage":null}}"#,
    );
}

#[test]
fn a_process_is_shown_in_each_of_its_states() {
    let status = |state| ProcessStatus {
        state,
        position: at(6),
        lag: 3,
        deadlines: 4,
        active: 5,
        parked: 1,
        retrying: None,
    };
    is(
        &status(ProcessState::Running),
        r#"{"state":{"name":"running"},"position":6,"lag":3,"deadlines":4,"active":5,"parked":1,"retrying":null}"#,
    );
    is(&ProcessState::Paused, r#"{"name":"paused"}"#);
    is(&ProcessState::Stopped, r#"{"name":"stopped"}"#);
    is(
        &ProcessState::Faulted(Error::new(ErrorKind::Undecodable, "no \"such\" field")),
        r#"{"name":"faulted","error":{"kind":"undecodable","message":"no \"such\" field","damage":null}}"#,
    );
}

#[test]
fn what_is_parked_is_shown() {
    let parked = Parked {
        position: at(7),
        stream: StreamId::new("Door-1").unwrap(),
        event_type: "Opened".to_owned(),
        error: None,
        attempts: 3,
        parked_at: time(),
    };
    is(
        &parked,
        r#"{"position":7,"stream":"Door-1","event_type":"Opened","error":null,"attempts":3,"parked_at":"2025-11-27T14:00:00.000250Z"}"#,
    );
    let parked = |kind| process::Parked {
        id: "1001".to_owned(),
        kind,
        what: "the effect of event 7".to_owned(),
        error: "no".to_owned(),
        attempts: 3,
        parked_at: time(),
    };
    is(
        &parked(ParkedKind::Instance),
        r#"{"id":"1001","kind":"instance","what":"the effect of event 7","error":"no","attempts":3,"parked_at":"2025-11-27T14:00:00.000250Z"}"#,
    );
    is(&[ParkedKind::Step, ParkedKind::Stopped], r#"["step","stopped"]"#);
}

#[test]
fn streams_hashes_and_backups_are_shown() {
    let info = StreamInfo {
        stream: StreamId::new("Door-1").unwrap(),
        version: Version::new(2),
        count: 2,
        created: time(),
        last_written: time(),
    };
    is(
        &info,
        r#"{"stream":"Door-1","version":2,"count":2,"created":"2025-11-27T14:00:00.000250Z","last_written":"2025-11-27T14:00:00.000250Z"}"#,
    );
    is(
        &[HashCheck::Same, HashCheck::Changed, HashCheck::Shorter],
        r#"["same","changed","shorter"]"#,
    );
    let head = HeadHash { position: at(2), hash: [0xab; 32] };
    let backup = Backup {
        position: at(2),
        head,
        bytes_copied: 1,
        segments_copied: 2,
        segments_reused: 3,
        segments_checked: 4,
        bytes_checked: 5,
        segments_replaced: 6,
    };
    let hash = "ab".repeat(32);
    is(
        &backup,
        &format!(
            r#"{{"position":2,"head":"2:{hash}","bytes_copied":1,"segments_copied":2,"segments_reused":3,"segments_checked":4,"bytes_checked":5,"segments_replaced":6}}"#
        ),
    );
    let shown = serde_json::to_value(head).unwrap();
    assert_eq!(shown.as_str().unwrap().parse::<HeadHash>().unwrap(), head, "it cannot be read");
}

#[test]
fn damage_and_repairs_are_shown() {
    is(
        &Error::corrupt(Path::new("/s/journal/0001"), 64, Some(7), "its checksum is wrong"),
        r#"{"kind":"corrupt","message":"/s/journal/0001 is damaged at byte 64, position 7: its checksum is wrong","damage":{"file":"/s/journal/0001","offset":64,"position":7}}"#,
    );
    let frame = Finding::new(FindingKind::Frame, Path::new("/s/journal/0001"), "it is damaged");
    let unwatched = Finding::new(
        FindingKind::DurableWatermark,
        Path::new("/s/journal/durable"),
        "it is damaged",
    );
    let verified = Verification {
        findings: vec![frame.at(64).positions(7, 9), unwatched],
        more_findings: 0,
        head: at(9),
        events: 6,
        segments: 1,
        bytes: 4_096,
        indexed: None,
        views: 0,
        unchecked: vec![Unchecked::IndexDatabase, Unchecked::Views],
    };
    is(
        &verified,
        r#"{"findings":[{"kind":"frame","file":"/s/journal/0001","offset":64,"positions":{"start":7,"end":9},"stream":null,"message":"it is damaged"},{"kind":"durable_watermark","file":"/s/journal/durable","offset":null,"positions":null,"stream":null,"message":"it is damaged"}],"more_findings":0,"head":9,"events":6,"segments":1,"bytes":4096,"indexed":null,"views":0,"unchecked":["index_database","views"]}"#,
    );
    let torn = TornWrite {
        file: "/s/journal/0001".into(),
        offset: 64,
        bytes: 12,
        copy: "/s/journal/torn".into(),
        acknowledged: false,
    };
    is(
        &torn,
        r#"{"file":"/s/journal/0001","offset":64,"bytes":12,"copy":"/s/journal/torn","acknowledged":false}"#,
    );
    let rebuilt = IndexRebuilt { moved_to: Some("/s/index.1".into()), position: at(9) };
    is(&rebuilt, r#"{"moved_to":"/s/index.1","position":9}"#);
    let exported = Exported {
        events: 6,
        from_index: 1,
        lost: vec![at(7)..=at(8)],
        cut_streams: vec![CutStream { stream: "Door-1".to_owned(), kept_up_to: Version::new(2) }],
        left_out: 1,
        states_left_out: 0,
        renumbered: vec![Renumbered { first: at(9), last: at(9), now: at(7) }],
        left_out_file: None,
    };
    is(
        &exported,
        r#"{"events":6,"from_index":1,"lost":[{"start":7,"end":8}],"cut_streams":[{"stream":"Door-1","kept_up_to":2}],"left_out":1,"states_left_out":0,"renumbered":[{"first":9,"last":9,"now":7}],"left_out_file":null}"#,
    );
}

/// serde's own form of a path refuses such a one, and an operator would see nothing at all.
#[cfg(unix)]
#[test]
fn what_is_in_a_directory_whose_name_is_not_utf_8_is_shown() {
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(std::ffi::OsStr::from_bytes(b"/\xff/durable"));
    let finding = Finding::new(FindingKind::DurableWatermark, path, "it is damaged");
    let shown = serde_json::to_value(&finding).expect("a path is shown whatever it is");
    assert_eq!(shown["file"], "/\u{fffd}/durable");
}
