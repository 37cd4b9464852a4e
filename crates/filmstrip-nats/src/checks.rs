//! What a stream must be for a relay to write to it: docs/decisions/0027 gives the reasons.
//!
//! A setting that would make the relay's promise untrue is refused, with the value met and the one that is asked for.
//! One that only makes a loss more likely, which the relay then repairs, is logged as a warning.

use crate::settings::Settings;
use async_nats::Client;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PersistenceMode, RetentionPolicy, StorageType,
};
use filmstrip::relay::{RelayError, RelaySource};
use std::time::Duration;

/// Streams have metadata since then, by which they are recognised.
const VERSION_MIN: (i64, i64, i64) = (2, 10, 0);
/// What the tests run with, and the first that syncs a group of messages at once.
const VERSION_TESTED: (i64, i64, i64) = (2, 15, 1);

/// A setting that is not as it must be.
struct Complaint {
    setting: &'static str,
    met: String,
    asked: String,
}

fn complain(setting: &'static str, met: impl ToString, asked: impl ToString) -> Option<Complaint> {
    Some(Complaint { setting, met: met.to_string(), asked: asked.to_string() })
}

/// Refuses a server that is too old.
pub(crate) fn check_server(client: &Client) -> Result<(), RelayError> {
    let version = client.server_info().version;
    let is_at_least = |(major, minor, patch)| client.is_server_compatible(major, minor, patch);
    let (major, minor, patch) = VERSION_MIN;
    if !is_at_least(VERSION_MIN) {
        let message = format!(
            "the server's version is {version}; {major}.{minor}.{patch} or later is needed"
        );
        return Err(RelayError::refused(message));
    }
    if !is_at_least(VERSION_TESTED) {
        let (major, minor, patch) = VERSION_TESTED;
        tracing::warn!(version, "NATS before {major}.{minor}.{patch} was not tested with a relay");
    }
    Ok(())
}

/// Refuses a stream that cannot hold what the relay promises.
pub(crate) fn check_stream(
    settings: &Settings,
    source: &RelaySource,
    info: &Info,
) -> Result<(), RelayError> {
    let config = &info.config;
    warn(settings, config);
    let complaint = belongs_to(settings, source, config)
        .or_else(|| takes_events(settings, config))
        .or_else(|| keeps_what_it_took(config))
        .or_else(|| if settings.allow_expiry { None } else { keeps_everything(config) });
    match complaint {
        None => Ok(()),
        Some(Complaint { setting, met, asked }) => Err(RelayError::refused(format!(
            "the stream {} has {setting} {met}; a relay needs {asked}",
            settings.stream
        ))),
    }
}

/// Whose stream it is.
fn belongs_to(settings: &Settings, source: &RelaySource, config: &Config) -> Option<Complaint> {
    for (key, asked) in Settings::metadata(source) {
        match config.metadata.get(key) {
            Some(met) if *met == asked => {}
            Some(met) => return complain(key, format!("{met:?} in its metadata"), asked),
            None => return complain(key, "not in its metadata", asked),
        }
    }
    if config.subjects != [settings.subject.as_str()] {
        return complain(
            "the subjects",
            format!("{:?}", config.subjects),
            format!("{:?} and no others", settings.subject),
        );
    }
    None
}

/// Whether what is published comes in as it is, and is acknowledged.
fn takes_events(settings: &Settings, config: &Config) -> Option<Complaint> {
    if config.num_replicas < settings.replicas {
        let asked = format!("{}, as `replicas` says", settings.replicas);
        return complain("num_replicas", config.num_replicas, asked);
    }
    let must_be_off = [
        ("mirror", config.mirror.is_some()),
        ("sources", config.sources.as_ref().is_some_and(|sources| !sources.is_empty())),
        ("subject_transform", config.subject_transform.is_some()),
        ("no_ack", config.no_ack),
        ("sealed", config.sealed),
    ];
    must_be_off
        .into_iter()
        .find(|(_, is_on)| *is_on)
        .and_then(|(name, _)| complain(name, "on", "it off"))
}

/// Whether messages stay that no limit and no operator removes.
fn keeps_what_it_took(config: &Config) -> Option<Complaint> {
    if config.storage != StorageType::File {
        return complain("storage", "memory", "file");
    }
    if config.retention != RetentionPolicy::Limits {
        return complain("retention", format!("{:?}", config.retention), "Limits");
    }
    if config.max_messages_per_subject > 0 {
        let met = config.max_messages_per_subject;
        return complain("max_msgs_per_subject", met, "-1: all events have one subject");
    }
    match () {
        () if config.allow_message_ttl => complain("allow_msg_ttl", "on", "it off"),
        () if config.allow_rollup => complain("allow_rollup_hdrs", "on", "it off"),
        () => None,
    }
}

/// Whether the beginning stays.
fn keeps_everything(config: &Config) -> Option<Complaint> {
    let or_allow = |asked: &str| format!("{asked}, or `allow_expiry`");
    if config.max_age != Duration::ZERO {
        return complain("max_age", format!("{:?}", config.max_age), or_allow("none"));
    }
    if config.max_messages > 0 && config.discard == DiscardPolicy::Old {
        return complain("max_msgs", config.max_messages, or_allow("-1, or discard new"));
    }
    if config.max_bytes > 0 && config.discard == DiscardPolicy::Old {
        return complain("max_bytes", config.max_bytes, or_allow("-1, or discard new"));
    }
    None
}

/// What makes a loss more likely that the relay repairs, or that an operator must ask for.
fn warn(settings: &Settings, config: &Config) {
    let stream = &settings.stream;
    let tags = config.placement.iter().flat_map(|placement| &placement.tags);
    if !tags.into_iter().any(|tag| tag == "sync:always") {
        tracing::debug!(
            stream,
            "the placement of the stream does not ask for servers that sync always: a power cut of all of them may \
             take its end, which is sent again"
        );
    }
    if config.persist_mode == Some(PersistenceMode::Async) {
        tracing::warn!(
            stream,
            "the stream acknowledges before it writes; what it loses is sent again"
        );
    }
    if !config.deny_delete || !config.deny_purge {
        tracing::warn!(
            stream,
            "messages can be deleted from the stream; a relay does not send them again"
        );
    }
}
