//! What was said about a person is looked for in every file.

use super::*;

const MARKER: &str = "Zanzibar-9-River-Street";

/// The files below `directory` that hold the marker.
fn holders(directory: &Path) -> Vec<PathBuf> {
    let holds = |file: &PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
    };
    files(directory).into_iter().filter(holds).collect()
}

#[test]
fn no_file_holds_what_is_private_before_or_after_it_is_forgotten() {
    let place = Place::new();
    let store = place.open();
    let metadata = || Metadata::default().user(MARKER).entry("where", MARKER);
    for n in 0..50 {
        let event = private("7", MARKER).metadata(metadata());
        store.append(format!("Order-{n}"), ExpectedVersion::Any, [event, public()]).unwrap();
    }
    let filler = || NewEvent::bytes("Filler", vec![1; 2 << 20]);
    (0..8).for_each(|_| drop(store.append("Filler-1", ExpectedVersion::Any, [filler()]).unwrap()));
    let backup = place.0.path().join("backup");
    store.backup(&backup).unwrap();
    assert_eq!(read(&store)[0].json::<String>().unwrap(), MARKER);
    assert_eq!(holders(place.0.path()), [] as [PathBuf; 0]);
    store.forget("7").unwrap();
    store.close().unwrap();
    assert_eq!(holders(place.0.path()), [] as [PathBuf; 0]);
    // The search would find it.
    let store = place.open();
    let said = NewEvent::json("Said", &MARKER).unwrap();
    store.append("Order-1", ExpectedVersion::Any, [said]).unwrap();
    assert_eq!(holders(place.0.path()).len(), 1);
}
