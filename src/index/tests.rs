use crate::clock::Micros;
use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::EntryLocation;
use crate::codec::frame::Location;
use crate::index::core::{Index, Opened};
use crate::index::window::{Window, WindowEvent};
use crate::stream::StreamId;
use uuid::Uuid;

fn event(stream: &str, version: u64, position: u64) -> WindowEvent {
    WindowEvent {
        stream: StreamId::new(stream).unwrap(),
        version,
        position,
        recorded_at: Micros(position as i64),
        location: EntryLocation { segment: 1, offset: 0, length: 9 },
        envelope: vec![position as u8; 300].into(),
    }
}

fn end(position: u64) -> Checkpoint {
    let next = Location { segment: 1, offset: 8 * position };
    Checkpoint { position, next, chain: [9; 32], time: Micros(position as i64) }
}

#[test]
fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let store = Uuid::from_u128(1);
    let (index, opened) = Index::open(dir.path(), store, 1 << 20).unwrap();
    assert!(matches!(opened, Opened::Fresh { reason: None }));
    let events = (1..=40u64).map(|p| event(&format!("A-{}", p % 2), p.div_ceil(2), p)).collect();
    let window =
        Window { events, marks: vec![], records: vec![("a".into(), vec![1])], end: end(40) };
    index.insert(window).unwrap();
    index.close().unwrap();
    for _ in 0..3 {
        let (index, opened) = Index::open(dir.path(), store, 1 << 20).unwrap();
        assert!(matches!(opened, Opened::Whole(c) if c == end(40)), "{opened:?}");
        let a = StreamId::new("A-1").unwrap();
        let run = index.run_holding(&a, 1).unwrap();
        assert_eq!(run[0].version, 1);
        assert!(run.len() > 10);
        assert_eq!(index.run_holding(&a, 20).unwrap().last().unwrap().version, 20);
        assert!(index.run_holding(&a, 21).unwrap().is_empty());
        drop(index);
    }
}
