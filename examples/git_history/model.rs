//! The read model: lines per file, folded from the files' events and from nothing else.

use super::events::FileEvent;
use super::names::{FILE, without_category};
use filmstrip::{Filter, HandlerError, Position, ReadModel, RecordedEvent, Result, Store};
use std::collections::HashMap;

/// Every file that ever was, by name.
#[derive(Debug, Default)]
pub(crate) struct LinesPerFile {
    files: HashMap<String, FileNow>,
}

/// What the events of one file come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FileNow {
    pub(crate) exists: bool,
    /// `None` while it is binary.
    pub(crate) lines: Option<u64>,
    /// How often it was added, changed or deleted.
    pub(crate) changes: u64,
}

impl ReadModel for LinesPerFile {
    fn filter() -> Filter {
        Filter::category(FILE)
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), HandlerError> {
        let name = without_category(&event.stream);
        let change = event.decode::<FileEvent>()?;
        // Most events are of a file that is known, whose name need not be copied.
        match self.files.get_mut(name) {
            Some(file) => file.apply(&change),
            None => self.files.entry(name.to_owned()).or_default().apply(&change),
        }
    }
}

impl LinesPerFile {
    /// The same model as it was at `position`: the film rewound. No snapshot was kept for it.
    pub(crate) fn as_of(store: &Store, position: Position) -> Result<LinesPerFile, HandlerError> {
        let mut model = LinesPerFile::default();
        for event in store.read_all().category(FILE).until(position).iter()? {
            model.apply(&event?)?;
        }
        Ok(model)
    }

    /// The files that exist, in no order.
    pub(crate) fn existing(&self) -> impl Iterator<Item = (&str, &FileNow)> {
        self.files.iter().filter(|(_, file)| file.exists).map(|(name, file)| (name.as_str(), file))
    }

    /// The `count` files with the most lines, and how many lines.
    pub(crate) fn largest(&self, count: usize) -> Vec<(&str, u64)> {
        let files = self.existing().filter_map(|(name, file)| Some((name, file.lines?)));
        most(files.collect(), count)
    }

    /// The `count` files that changed most often, deleted ones too, and how often.
    pub(crate) fn most_changed(&self, count: usize) -> Vec<(&str, u64)> {
        let files = self.files.iter().map(|(name, file)| (name.as_str(), file.changes));
        most(files.collect(), count)
    }
}

impl FileNow {
    pub(crate) fn apply(&mut self, event: &FileEvent) -> Result<(), HandlerError> {
        self.changes += 1;
        match *event {
            FileEvent::FileAdded { lines } | FileEvent::FileReplaced { lines } => {
                self.exists = true;
                self.lines = lines;
            }
            FileEvent::FileChanged { added, removed } => {
                let grown = self.lines.map(|lines| (lines + added).checked_sub(removed));
                self.lines = match grown {
                    Some(None) => return Err(format!("{event:?} of a file with {self:?}").into()),
                    Some(lines) => lines,
                    None => None,
                };
            }
            FileEvent::FileDeleted => {
                self.exists = false;
                self.lines = None;
            }
        }
        Ok(())
    }
}

/// The `count` largest; of two alike the one whose name comes first.
fn most(mut files: Vec<(&str, u64)>, count: usize) -> Vec<(&str, u64)> {
    files.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    files.truncate(count);
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(events: &[FileEvent]) -> FileNow {
        let mut file = FileNow::default();
        for event in events {
            file.apply(event).unwrap();
        }
        file
    }

    #[test]
    fn a_file_grows_and_shrinks_goes_and_comes_back() {
        use FileEvent::{FileAdded, FileChanged, FileDeleted};
        let mut events = vec![FileAdded { lines: Some(10) }, FileChanged { added: 5, removed: 2 }];
        assert_eq!(fold(&events), FileNow { exists: true, lines: Some(13), changes: 2 });
        events.push(FileDeleted);
        assert_eq!(fold(&events), FileNow { exists: false, lines: None, changes: 3 });
        events.push(FileAdded { lines: Some(1) });
        assert_eq!(fold(&events), FileNow { exists: true, lines: Some(1), changes: 4 });
    }

    #[test]
    fn a_binary_file_has_no_lines_until_it_is_text_again() {
        use FileEvent::{FileAdded, FileChanged, FileReplaced};
        let mut events = vec![FileAdded { lines: None }, FileReplaced { lines: None }];
        assert_eq!(fold(&events).lines, None);
        events.extend([FileReplaced { lines: Some(4) }, FileChanged { added: 1, removed: 0 }]);
        assert_eq!(fold(&events).lines, Some(5));
    }

    #[test]
    fn removing_lines_that_are_not_there_is_an_error() {
        let mut file = FileNow { exists: true, lines: Some(1), changes: 1 };
        assert!(file.apply(&FileEvent::FileChanged { added: 0, removed: 2 }).is_err());
    }

    #[test]
    fn the_largest_come_first_and_ties_go_by_name() {
        let files = vec![("b", 1), ("a", 1), ("c", 9), ("d", 0)];
        assert_eq!(most(files, 3), [("c", 9), ("a", 1), ("b", 1)]);
    }
}
