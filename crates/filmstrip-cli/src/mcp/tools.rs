//! The tools: their names, what they take, and the commands that they are.

use rmcp::model::{self, JsonObject, ToolAnnotations};
use serde_json::{Value, json};
use std::sync::Arc;

/// One of the commands that look.
pub(super) struct Tool {
    name: &'static str,
    about: &'static str,
    command: &'static [&'static str],
    fields: &'static [Field],
}

/// What a tool takes.
struct Field {
    name: &'static str,
    about: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The text that the command is about; it must be there.
    Subject,
    /// A text for the option of this name, and several.
    Text(&'static str),
    Texts(&'static str),
    Number(&'static str),
}

const fn field(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, about, kind }
}

const WHAT: Field = field("what", Kind::Subject, "A stream's name, a position, or an event's id");
const STREAM: Field = field("stream", Kind::Subject, "The stream's name");
const UNTIL: Field = field("until", Kind::Number("--until"), "The last version");
const AS_OF: Field = field("as_of", Kind::Text("--as-of"), "The last time, as in RFC 3339");

pub(super) const TOOLS: [Tool; 8] = [
    Tool {
        name: "stats",
        about: "How many events the store has, since when, and what it takes on disk",
        command: &["stats"],
        fields: &[],
    },
    Tool {
        name: "streams",
        about: "Streams in the order of their names, one JSON document on each line",
        command: &["streams"],
        fields: &[
            field("prefix", Kind::Text("--prefix"), "Only names that begin with this"),
            field(
                "category",
                Kind::Text("--category"),
                "Only this category: the name before the first '-'",
            ),
            field(
                "after",
                Kind::Text("--after"),
                "Only names after this one: the last name of a page",
            ),
            field("limit", Kind::Number("--limit"), "At most so many; 100 by default"),
        ],
    },
    Tool {
        name: "tail",
        about: "The last events, or those from a position on, one JSON document on each line",
        command: &["tail"],
        fields: &[
            field("events", Kind::Number("--events"), "How many; 10 by default"),
            field("from", Kind::Number("--from"), "The first position"),
            field("stream", Kind::Texts("--stream"), "Only these streams"),
            field("category", Kind::Texts("--category"), "Only these categories"),
            field("type", Kind::Texts("--type"), "Only these types"),
            field("tag", Kind::Texts("--tag"), "Only events with all of these tags"),
        ],
    },
    Tool {
        name: "show",
        about: "A stream's events, or one event, with all that is known of them",
        command: &["show"],
        fields: &[
            WHAT,
            field("events", Kind::Number("--events"), "At most so many events of a stream"),
        ],
    },
    Tool {
        name: "film",
        about: "The events of a stream, each with the fields that its payload changed",
        command: &["film"],
        fields: &[STREAM, field("from", Kind::Number("--from"), "The first version"), UNTIL, AS_OF],
    },
    Tool {
        name: "state",
        about: "The merged fields of a stream's payloads, now or as of a time or version",
        command: &["film", "--state"],
        fields: &[STREAM, UNTIL, AS_OF],
    },
    Tool {
        name: "why",
        about: "What led to an event, and what followed from it, across streams",
        command: &["why"],
        fields: &[WHAT],
    },
    Tool {
        name: "top",
        about: "The busiest categories and types, and the largest streams",
        command: &["top"],
        fields: &[field("number", Kind::Number("--number"), "How many of each; 10 by default")],
    },
];

pub(super) fn named(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

impl Tool {
    /// The tool as an agent learns of it.
    pub(super) fn description(&self) -> model::Tool {
        let properties: JsonObject =
            self.fields.iter().map(|field| (field.name.to_owned(), field.schema())).collect();
        let needed = self.fields.iter().filter(|field| field.kind == Kind::Subject);
        let needed: Vec<_> = needed.map(|field| field.name).collect();
        let schema = JsonObject::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(properties)),
            ("required".to_owned(), json!(needed)),
            ("additionalProperties".to_owned(), json!(false)),
        ]);
        let hints = ToolAnnotations::new().read_only(true);
        model::Tool::new(self.name, self.about, Arc::new(schema)).with_annotations(hints)
    }

    /// The words of the command, with these arguments.
    pub(super) fn words(&self, arguments: &JsonObject) -> Result<Vec<String>, String> {
        if let Some(unknown) =
            arguments.keys().find(|name| self.fields.iter().all(|field| field.name != **name))
        {
            let known: Vec<_> = self.fields.iter().map(|field| field.name).collect();
            return Err(format!("{} takes no {unknown:?}; it takes {known:?}", self.name));
        }
        let (mut words, mut subject) = (Vec::new(), None);
        for field in self.fields {
            match (arguments.get(field.name).filter(|value| !value.is_null()), field.kind) {
                (None, Kind::Subject) => {
                    return Err(format!("{} needs {:?}", self.name, field.name));
                }
                (None, _) => {}
                (Some(value), Kind::Subject) => subject = Some(field.text(value)?),
                (Some(value), Kind::Text(option) | Kind::Number(option)) => {
                    words.push(format!("{option}={}", field.text(value)?));
                }
                (Some(Value::Array(values)), Kind::Texts(option)) => {
                    for value in values {
                        words.push(format!("{option}={}", field.text(value)?));
                    }
                }
                (Some(value), Kind::Texts(option)) => {
                    words.push(format!("{option}={}", field.text(value)?));
                }
            }
        }
        let command = self.command.iter().map(|word| (*word).to_owned());
        // What comes after it is no option, whatever it looks like.
        let subject = subject.into_iter().flat_map(|subject| ["--".to_owned(), subject]);
        Ok(command.chain(words).chain(subject).collect())
    }
}

impl Field {
    fn schema(&self) -> Value {
        let about = self.about;
        match self.kind {
            Kind::Subject | Kind::Text(_) => json!({ "type": "string", "description": about }),
            Kind::Number(_) => json!({ "type": "integer", "minimum": 0, "description": about }),
            Kind::Texts(_) => {
                json!({ "type": "array", "items": { "type": "string" }, "description": about })
            }
        }
    }

    fn text(&self, value: &Value) -> Result<String, String> {
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) if number.is_u64() => Ok(number.to_string()),
            other => {
                Err(format!("{:?} must be a text or a number from 0 on; it is {other}", self.name))
            }
        }
    }
}
