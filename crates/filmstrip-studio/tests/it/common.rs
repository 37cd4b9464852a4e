//! A small shop whose film is shown, and a studio that serves it.

use filmstrip::chrono::{DateTime, Utc};
use filmstrip::process::{Effects, Trigger};
use filmstrip::testing::ManualClock;
use filmstrip::{
    Aggregate, Event, Filter, HandlerError, Metadata, ProcessManager, Projection, RecordedEvent,
    Store, ViewWriter,
};
use filmstrip_studio::Studio;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::Duration;
use tokio::task::JoinHandle;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Customer {
    name: String,
    email: Option<String>,
    address: Option<Address>,
    tags: Vec<String>,
    orders: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) street: String,
    pub(crate) city: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum CustomerEvent {
    CustomerRegistered { name: String, email: String },
    AddressUpdated { address: Address },
    EmailRemoved,
    Tagged { tag: String },
    OrderCounted { order: String },
}

impl Event for CustomerEvent {
    fn tags(&self) -> Vec<String> {
        match self {
            CustomerEvent::OrderCounted { order } => vec![format!("order:{order}")],
            _ => Vec::new(),
        }
    }
}

impl Aggregate for Customer {
    const CATEGORY: &'static str = "Customer";
    type Command = CustomerEvent;
    type Event = CustomerEvent;
    type Error = Infallible;

    fn decide(&self, command: &CustomerEvent) -> Result<Vec<CustomerEvent>, Infallible> {
        Ok(vec![command.clone()])
    }

    fn evolve(&mut self, event: &CustomerEvent) {
        match event.clone() {
            CustomerEvent::CustomerRegistered { name, email } => {
                (self.name, self.email) = (name, Some(email));
            }
            CustomerEvent::AddressUpdated { address } => self.address = Some(address),
            CustomerEvent::EmailRemoved => self.email = None,
            CustomerEvent::Tagged { tag } => self.tags.push(tag),
            CustomerEvent::OrderCounted { .. } => self.orders += 1,
        }
    }
}

/// Customers by the city that they live in.
pub(crate) struct ByCity;

impl Projection for ByCity {
    const NAME: &'static str = "by_city";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::aggregate::<Customer>()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        if let CustomerEvent::AddressUpdated { address } = event.decode()? {
            if address.city == "Atlantis" {
                return Err("there is no such city".into());
            }
            view.put(event.stream.as_str(), &address)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum WelcomeEvent {
    Welcomed,
}
impl Event for WelcomeEvent {}

/// A process that fails on each new customer.
#[derive(Default, Clone)]
pub(crate) struct Welcome;

impl ProcessManager for Welcome {
    const NAME: &'static str = "Welcome";
    type Event = WelcomeEvent;

    fn filter() -> Filter {
        Filter::event_type("CustomerRegistered")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.id().map(str::to_owned))
    }

    fn react(&self, _: Trigger<'_>) -> Result<Vec<WelcomeEvent>, HandlerError> {
        Err("no welcome today".into())
    }

    fn evolve(&mut self, WelcomeEvent::Welcomed: &WelcomeEvent) {}

    fn effect(
        &self,
        _: &WelcomeEvent,
        _: &mut Effects<'_>,
    ) -> Result<Vec<WelcomeEvent>, HandlerError> {
        Ok(Vec::new())
    }
}

pub(crate) fn address(street: &str, city: &str) -> CustomerEvent {
    let (street, city) = (street.to_owned(), city.to_owned());
    CustomerEvent::AddressUpdated { address: Address { street, city } }
}

/// A store with the film of one customer, Customer-1001, of eight frames, and of some others.
pub(crate) struct Shop {
    pub(crate) store: Store,
    pub(crate) clock: ManualClock,
    /// The id of the event that registered the customer, and of one that it led to.
    pub(crate) registered: filmstrip::uuid::Uuid,
    pub(crate) counted: filmstrip::uuid::Uuid,
}

pub(crate) fn shop() -> Shop {
    let clock = ManualClock::new("2026-03-02T09:14:00Z".parse::<DateTime<Utc>>().unwrap());
    let store = Store::builder().clock(clock.clone()).temporary().unwrap();
    let customers = store.repository::<Customer>();
    let later = |minutes: u64| clock.advance(Duration::from_secs(60 * minutes));
    let by = |user: &str| Metadata::default().user(user);
    let register = |name: &str, email: &str| CustomerEvent::CustomerRegistered {
        name: name.to_owned(),
        email: email.to_owned(),
    };
    let tag = |tag: &str| CustomerEvent::Tagged { tag: tag.to_owned() };
    let run = |event: CustomerEvent, metadata: Metadata| {
        customers.execute_with("1001", &event, metadata).unwrap().event_ids[0]
    };

    let registered = run(register("Alice Hart", "alice@example.org"), by("web"));
    later(3);
    run(address("12 Mill Lane", "Bath"), by("alice"));
    later(60 * 26);
    run(tag("newsletter"), by("alice"));
    later(60 * 24 * 9);
    let order = CustomerEvent::OrderCounted { order: "7001".to_owned() };
    let counted = run(order, by("orders").causation_id(registered).correlation_id(registered));
    later(40);
    run(
        tag("vip"),
        Metadata::default().user("rules").causation_id(counted).entry("rule", "first-order"),
    );
    later(60 * 24 * 30);
    run(address("3 Harbour Street", "Boston"), by("alice"));
    later(5);
    run(CustomerEvent::EmailRemoved, by("support"));
    later(60 * 5);
    run(CustomerEvent::OrderCounted { order: "7044".to_owned() }, by("orders"));
    for (id, name, city) in [("1002", "Zoë Müller", "Köln"), ("1003", "佐藤 健", "Kyoto")] {
        later(7);
        customers.execute(id, &register(name, "someone@example.org")).unwrap();
        customers.execute(id, &address("1 Main Street", city)).unwrap();
    }
    Shop { store, clock, registered, counted }
}

/// A studio that serves, until this is dropped.
pub(crate) struct Served {
    pub(crate) url: String,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new(studio: Studio) -> Served {
        let server = studio.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = server.url();
        let task = tokio::spawn(async move { server.run().await.unwrap() });
        Served { url, task }
    }

    pub(crate) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.url.split('?').next().unwrap().trim_end_matches('/'))
    }

    /// The status and the body of a page.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = client().get(self.page(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client that follows no redirect.
pub(crate) fn client() -> reqwest::Client {
    let none = reqwest::redirect::Policy::none();
    reqwest::Client::builder().redirect(none).no_proxy().build().unwrap()
}

/// The text between two marks.
pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from:?} in {text}")) + from.len();
    &text[start..start + text[start..].find(to).unwrap()]
}

/// A page without its markup.
pub(crate) fn text(html: &str) -> String {
    let mut text = String::new();
    for piece in html.split('<') {
        text.push_str(piece.split_once('>').map_or(piece, |(_, after)| after));
        text.push(' ');
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
