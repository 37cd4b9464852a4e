//! A customer asks to be forgotten: the film, a view, the files and a backup, before and after.
//!
//! ```text
//! cargo run --features erasure --example right_to_erasure [DIRECTORY]
//! ```
//!
//! The keys, the store and its backup are in DIRECTORY, `erasure-data` if none is named, which must not be there yet.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks")]

use filmstrip::erasure::{KeyDirectory, KeyEncryptingKey};
use filmstrip::read::PayloadFormat;
use filmstrip::{
    Aggregate, Event, Filter, HandlerError, Metadata, Projection, ProjectionHandle, RecordedEvent,
    Snapshot, Store, ViewWriter,
};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// What is looked for in all files.
const ADDRESS: &str = "12 Row Lane, Rivermouth";

// ---- a customer of a shop -----------------------------------------------------------------------

#[derive(Debug, Clone, Serialize, Deserialize)]
enum CustomerEvent {
    Registered { number: u32 },
    AddressGiven { number: u32, address: String },
    Bought { cents: u32 },
}

impl Event for CustomerEvent {
    /// Whom the event is about, which makes it private. What was bought names nobody.
    fn subject(&self) -> Option<String> {
        match self {
            CustomerEvent::AddressGiven { number, .. } => Some(subject(*number)),
            CustomerEvent::Registered { .. } | CustomerEvent::Bought { .. } => None,
        }
    }

    /// What takes the place of an address that is forgotten.
    fn erased(event: &RecordedEvent) -> Option<CustomerEvent> {
        let address = "(erased)".to_owned();
        (event.event_type == "AddressGiven")
            .then_some(CustomerEvent::AddressGiven { number: 0, address })
    }
}

fn subject(number: u32) -> String {
    format!("customer-{number}")
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Customer {
    address: String,
    spent: u32,
}

impl Aggregate for Customer {
    const CATEGORY: &'static str = "Customer";
    type Command = CustomerEvent;
    type Event = CustomerEvent;
    type Error = Infallible;

    fn decide(&self, event: &CustomerEvent) -> Result<Vec<CustomerEvent>, Infallible> {
        Ok(vec![event.clone()])
    }

    fn evolve(&mut self, event: &CustomerEvent) {
        match event {
            CustomerEvent::Registered { .. } => {}
            CustomerEvent::AddressGiven { address, .. } => self.address.clone_from(address),
            CustomerEvent::Bought { cents } => self.spent += cents,
        }
    }
}

impl Snapshot for Customer {
    const SCHEMA: u32 = 1;
}

/// The address of each customer, for the labels of parcels.
struct Labels;

impl Projection for Labels {
    const NAME: &'static str = "labels";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::event_type("AddressGiven")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        if let CustomerEvent::AddressGiven { address, .. } = event.decode()? {
            view.put(event.stream.as_str(), &address)?;
        }
        Ok(())
    }
}

// ---- the story ----------------------------------------------------------------------------------

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "erasure-data".to_owned());
    let directory = Path::new(&directory);
    if directory.exists() {
        let name = directory.display();
        return Err(format!("{name} is there already: remove it, or name another one").into());
    }
    let (shop, backup) = (directory.join("shop"), directory.join("backup"));
    let keys = Arc::new(KeyDirectory::create(directory.join("keys"), secret)?);
    let store = Store::builder().keys(Arc::clone(&keys)).open(&shop)?;
    let labels = store.project(Labels).start()?;

    write(&store)?;
    println!("Before customer 7 asks to be forgotten\n");
    show(&store, &labels)?;
    store.backup(&backup)?;
    look_for_address(directory)?;
    let hash = store.head_hash();

    println!("\nAfter it\n");
    let forgotten = store.forget(&subject(7))?;
    println!("  {} key was destroyed", forgotten.keys.len());
    store.drain(PATIENCE)?;
    show(&store, &labels)?;
    println!("  the journal up to {}: {:?}", hash.position, store.check_hash(&hash)?);
    match write_address(&store) {
        Err(error) => println!("  a new address: {error}"),
        Ok(()) => return Err("an address was recorded after its customer was forgotten".into()),
    }

    // The view's file keeps what was removed from it until the store is opened again.
    drop(labels);
    store.close()?;
    Store::builder().keys(Arc::clone(&keys)).open(&shop)?.close()?;
    println!("\nAfter the store was opened again\n");
    look_for_address(directory)?;

    println!("\nThe backup from before, opened with the keys\n");
    let restored = Store::builder().keys(keys).open(&backup)?;
    film(&restored)?;
    restored.close()?;
    Ok(())
}

/// The key-encrypting key. In earnest it comes from a key service, or from a secret of the deployment.
fn secret() -> Result<KeyEncryptingKey, HandlerError> {
    Ok(KeyEncryptingKey::new(&[7; KeyEncryptingKey::BYTES]))
}

fn write(store: &Store) -> Result<(), Box<dyn Error>> {
    let customers = store.repository::<Customer>().snapshot_every(2);
    for (number, address) in [(7, ADDRESS), (8, "1 Bridge Street, Rivermouth")] {
        let id = number.to_string();
        customers.execute(&id, &CustomerEvent::Registered { number })?;
        customers.execute(&id, &CustomerEvent::Bought { cents: 900 })?;
        let address = address.to_owned();
        // The user and the entries of a private event's metadata are encrypted as well.
        let metadata = Metadata::default().user("alice").entry("ip", "192.0.2.7");
        customers.execute_with(&id, &CustomerEvent::AddressGiven { number, address }, metadata)?;
        customers.execute(&id, &CustomerEvent::Bought { cents: 350 })?;
    }
    Ok(())
}

fn write_address(store: &Store) -> Result<(), Box<dyn Error>> {
    let address = "13 Row Lane, Rivermouth".to_owned();
    let event = CustomerEvent::AddressGiven { number: 7, address };
    store.repository::<Customer>().execute("7", &event)?;
    Ok(())
}

fn show(store: &Store, labels: &ProjectionHandle) -> Result<(), Box<dyn Error>> {
    film(store)?;
    let state = store.repository::<Customer>().load("7")?.state;
    println!("  the state: {} at {:?}", euros(state.spent), state.address);
    labels.wait_for(store.head(), PATIENCE)?;
    let label = labels.view().get::<String>("Customer-7")?;
    println!("  the label: {:?}", label.unwrap_or_default());
    Ok(())
}

/// The film of customer 7, as anybody sees it who has the store and its keys.
fn film(store: &Store) -> Result<(), Box<dyn Error>> {
    for event in store.read_stream("Customer-7").iter()? {
        let event = event?;
        let user = event.metadata.user.as_deref().unwrap_or("-");
        let shown = match event.format {
            PayloadFormat::Erased => "erased".to_owned(),
            PayloadFormat::Sealed => format!("sealed, {} bytes", event.payload.len()),
            _ => String::from_utf8_lossy(&event.payload).into_owned(),
        };
        println!("  {:>2}  {:<13} {user:<6} {shown}", event.version.get(), &*event.event_type);
    }
    Ok(())
}

fn euros(cents: u32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Names the files that hold the address.
fn look_for_address(directory: &Path) -> Result<(), Box<dyn Error>> {
    let mut holders = Vec::new();
    let mut to_visit = vec![directory.to_owned()];
    while let Some(next) = to_visit.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                to_visit.push(path);
            } else if holds_address(&fs::read(&path)?) {
                holders.push(path.strip_prefix(directory)?.display().to_string());
            }
        }
    }
    holders.sort();
    match holders.is_empty() {
        true => println!("  the address is in no file"),
        false => println!("  the address is in {}", holders.join(", ")),
    }
    Ok(())
}

fn holds_address(bytes: &[u8]) -> bool {
    bytes.windows(ADDRESS.len()).any(|window| window == ADDRESS.as_bytes())
}
