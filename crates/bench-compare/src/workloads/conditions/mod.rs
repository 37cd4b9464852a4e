//! Conditions: that no event with a tag is after a position. Each engine here judges them: conditional commits of one
//! writer and of many; many events with two tags each, whether a tag is there, and reading by tag.

mod many;
mod writers;

pub use many::run_part;

use super::{Run, figure};
use crate::engine::{Condition, Item, Opened};
use crate::tables::Table;

pub fn run(run: &Run<'_>) {
    let opened = run.engine.open(&run.directory.join("judged"));
    judges(&*opened);
    opened.close();
    writers::run(run);
    many::run(run);
}

/// A ratio of filmstrip to itself, which is asked of it alone.
fn figure_of_filmstrip(run: &Run<'_>, table: &Table, name: &str, value: f64) {
    if run.engine.name() == "filmstrip" {
        figure(table, name, value);
    }
}

/// Whether the engine accepts what it must accept, and refuses what it must refuse.
fn judges(opened: &dyn Opened) {
    let append = |tag: &str, after: u64| {
        let tags = [tag.to_owned()];
        let unless = Some(Condition { tag, after });
        opened.append_unless(&[Item { stream: 0, payload: b"\"judged\"", tags: &tags }], unless)
    };
    assert!(!opened.has_tag("seat:1"));
    let first = append("seat:1", 0).expect("the tag is new");
    assert_eq!(append("seat:1", 0), None, "the tag is there");
    let other = append("seat:2", 0).expect("that tag is new");
    let second = append("seat:1", first).expect("nothing with the tag is after its event");
    assert_eq!(append("seat:1", other), None, "an event with the tag is after the position");
    append("seat:1", second).expect("nothing with the tag is after its second event");
    assert!(opened.has_tag("seat:1") && !opened.has_tag("seat:3"));
    let mut count = 0;
    opened.read_all(&mut |_| count += 1);
    assert_eq!(count, 4, "refused events are there, or accepted ones are not");
}
