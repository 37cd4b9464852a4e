//! CloudEvents 1.0 in JSON, read from any source. They are written by `filmstrip_cloudevents`.

use crate::fault::Fault;
use crate::transfer::incoming::{Data, Incoming, Read};
use crate::transfer::object::{self, Object};
use crate::transfer::trailer::{CLOUD_TYPE, Trailer};
use filmstrip::Metadata;
use std::borrow::Cow;
use std::collections::BTreeMap;

const JSON: &str = "application/json";

/// The event of a CloudEvent. Attributes that have no meaning here are entries of its metadata.
pub(super) fn read(text: &str) -> Result<Read<'_>, Fault> {
    let mut cloud = Object::parse(text)?;
    let version = cloud.needed(&["specversion"])?;
    if version != "1.0" {
        return Err(Fault::bad(format!(
            "its specversion is {version:?}; CloudEvents 1.0 are read"
        )));
    }
    let event_type = cloud.needed(&["type"])?;
    if event_type == CLOUD_TYPE {
        return trailer(cloud).map(Read::Trailer);
    }
    let (source, id) = (cloud.needed(&["source"])?, cloud.needed(&["id"])?);
    let time = cloud.text(&["time"])?.map(|text| object::time(&text, "time")).transpose()?;
    let recorded =
        cloud.text(&["recordedat"])?.map(|text| object::time(&text, "recordedat")).transpose()?;
    let recorded_at =
        recorded.or(time).ok_or_else(|| Fault::bad("the field \"time\" is missing"))?;
    let number =
        |text: Option<String>, name: &str| text.map(|text| object::number(&text, name)).transpose();
    let schema_version = number(cloud.text(&["schemaversion"])?, "schemaversion")?.unwrap_or(1);
    let schema_version = u16::try_from(schema_version).map_err(|_| {
        Fault::bad(format!(
            "the field \"schemaversion\" is {schema_version}; at most {} are allowed",
            u16::MAX
        ))
    })?;
    let tags = json_of::<Vec<String>>(&mut cloud, "tags")?.unwrap_or_default();
    Ok(Read::Event(Box::new(Incoming {
        stream: cloud.text(&["subject"])?.unwrap_or_else(|| source.clone()),
        version: number(cloud.text(&["streamversion"])?, "streamversion")?,
        position: number(cloud.text(&["position"])?, "position")?,
        id: object::id(&id, &source),
        event_type,
        schema_version,
        recorded_at,
        occurred_at: time.filter(|time| *time != recorded_at),
        tags,
        data: data(&mut cloud)?,
        metadata: metadata(cloud)?,
    })))
}

fn trailer(mut cloud: Object<'_>) -> Result<Trailer, Fault> {
    let data = cloud.take("data").ok_or_else(|| Fault::bad("the trailer has no data"))?;
    serde_json::from_str(data.get())
        .map_err(|error| Fault::bad(format!("it is no trailer: {error}")))
}

fn data<'a>(cloud: &mut Object<'a>) -> Result<Data<'a>, Fault> {
    let kind = cloud.text(&["datacontenttype"])?.unwrap_or_else(|| JSON.to_owned());
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind.ends_with("/json") || kind.ends_with("+json");
    if let Some(text) = cloud.text(&["data_base64"])? {
        let bytes = Data::of_base64(&text)?;
        return if is_json { bytes.into_json() } else { Ok(bytes) };
    }
    match cloud.take_any("data") {
        None => Data::json_of("null".to_owned()),
        Some(value) if !is_json && value.get().starts_with('"') => {
            Ok(Data::Bytes(object::text(value, "data")?.into_bytes()))
        }
        Some(value) => Ok(Data::Json(Cow::Borrowed(value))),
    }
}

fn metadata(mut cloud: Object<'_>) -> Result<Metadata, Fault> {
    let mut metadata = Metadata::default();
    let links = [("correlationid", "correlation_id"), ("causationid", "causation_id")];
    for (attribute, name) in links {
        if let Some(text) = cloud.text(&[attribute])? {
            object::link(&mut metadata, name, text);
        }
    }
    metadata.command_id = cloud.text(&["commandid"])?.map(|text| object::id(&text, "commandid"));
    metadata.user = cloud.text(&["userid"])?;
    metadata
        .entries
        .extend(json_of::<BTreeMap<String, String>>(&mut cloud, "entries")?.unwrap_or_default());
    for (name, value) in cloud.into_rest() {
        metadata.entries.entry(name).or_insert_with(|| object::entry(value));
    }
    Ok(metadata)
}

/// Takes an attribute that holds JSON as a text. Another text is left for the entries.
fn json_of<T: serde::de::DeserializeOwned>(
    cloud: &mut Object<'_>,
    name: &str,
) -> Result<Option<T>, Fault> {
    let Some(value) = cloud.peek(name) else { return Ok(None) };
    let parsed = serde_json::from_str::<String>(value.get())
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok());
    if parsed.is_some() {
        cloud.take(name);
    }
    Ok(parsed)
}
