//! Which events a command is about.

use crate::fault::Fault;
use clap::Args;
use filmstrip::follow::FollowerRead;
use filmstrip::{Filter, StreamId};

/// Filters of one kind are alternatives, but for tags, of which an event must have all.
#[derive(Args, Default)]
pub(crate) struct Selection {
    /// Only events of this stream; may be repeated
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,

    /// Only events of streams of this category; may be repeated
    #[arg(long, value_name = "NAME")]
    category: Vec<String>,

    /// Only events of this type; may be repeated
    #[arg(long = "type", value_name = "NAME")]
    event_type: Vec<String>,

    /// Only events with this tag; if repeated, with all of them
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
}

impl Selection {
    pub(crate) fn is_everything(&self) -> bool {
        let Selection { stream, category, event_type, tag } = self;
        [stream, category, event_type, tag].iter().all(|names| names.is_empty())
    }

    /// Narrows `read` to what is selected.
    pub(crate) fn narrow(&self, read: FollowerRead) -> Result<FollowerRead, Fault> {
        let Selection { stream, category, event_type, tag } = self;
        let mut filter = Filter::all();
        for stream in stream {
            filter = filter.and_stream(StreamId::new(stream)?);
        }
        filter = category.iter().fold(filter, |filter, name| filter.and_category(name));
        filter = event_type.iter().fold(filter, |filter, name| filter.and_event_type(name));
        filter = tag.iter().fold(filter, |filter, tag| filter.tagged(tag));
        Ok(read.filter(filter))
    }
}
