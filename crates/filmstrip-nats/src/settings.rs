//! What the application asks for, and the stream that is made of it.

use async_nats::ConnectOptions;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use filmstrip::relay::RelaySource;
use std::collections::HashMap;
use std::time::Duration;

/// The keys of a stream's metadata that say what is in it.
pub(crate) const STORE: &str = "filmstrip.store";
pub(crate) const FILTER: &str = "filmstrip.filter";
pub(crate) const FORMAT: &str = "filmstrip.format";

/// The format of the messages: CloudEvents 1.0, structured, in JSON.
pub(crate) const FORMAT_NOW: &str = "cloudevents-1";
/// The filter of a stream that has every event.
pub(crate) const ALL: &str = "all";

pub(crate) struct Settings {
    /// Addresses, separated by commas.
    pub(crate) servers: String,
    pub(crate) subject: String,
    pub(crate) stream: String,
    pub(crate) source: Option<String>,
    pub(crate) create: bool,
    pub(crate) replicas: usize,
    pub(crate) allow_expiry: bool,
    pub(crate) connect: Box<dyn Fn() -> ConnectOptions + Send>,
}

impl Settings {
    pub(crate) fn new(servers: String, subject: String) -> Settings {
        let stream = subject.replace(['.', ' ', '*', '>', '/', '\\'], "_");
        Settings {
            servers,
            subject,
            stream,
            source: None,
            create: false,
            replicas: 3,
            allow_expiry: false,
            connect: Box::new(ConnectOptions::new),
        }
    }

    /// The metadata of a stream for events of `source`.
    pub(crate) fn metadata(source: &RelaySource) -> [(&'static str, String); 3] {
        [
            (STORE, source.store.to_string()),
            (FILTER, source.filter.clone().unwrap_or_else(|| ALL.to_owned())),
            (FORMAT, FORMAT_NOW.to_owned()),
        ]
    }

    /// The stream as it is made: it keeps everything, and nothing can be taken out of it.
    pub(crate) fn stream_config(&self, source: &RelaySource) -> Config {
        let metadata = Settings::metadata(source);
        Config {
            name: self.stream.clone(),
            subjects: vec![self.subject.clone()],
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            num_replicas: self.replicas,
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            deny_delete: true,
            deny_purge: true,
            // Nothing here uses it, and it costs the servers memory: the least that they allow.
            duplicate_window: Duration::from_millis(100),
            metadata: HashMap::from_iter(metadata.map(|(key, value)| (key.to_owned(), value))),
            ..Config::default()
        }
    }
}
