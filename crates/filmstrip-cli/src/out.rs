//! Where commands print to: text for people, or JSON for programs.

use crate::fault::Fault;
use crate::text;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{BufWriter, IsTerminal, Write};
#[cfg(feature = "mcp")]
use std::sync::{Arc, Mutex, PoisonError};

/// When to use colour.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// How a part of a line is to be seen.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    Strong,
    Faint,
    Good,
    Bad,
    Changed,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Strong => "1",
            Style::Faint => "2",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Changed => "33",
        }
    }
}

/// The output of a command.
pub(crate) struct Out {
    to: Box<dyn Write>,
    pub(crate) json: bool,
    pub(crate) is_terminal: bool,
    has_color: bool,
}

impl Out {
    pub(crate) fn stdout(json: bool, color: Color) -> Out {
        // Not locked: the server for agents writes to it from threads of its own.
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        let has_color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            }
        };
        Out { to: Box::new(BufWriter::new(stdout)), json, is_terminal, has_color }
    }

    /// JSON for a program that calls another command, in memory. More than `max` bytes are refused.
    #[cfg(feature = "mcp")]
    pub(crate) fn captured(max: usize) -> (Out, Captured) {
        let captured = Captured { bytes: Arc::default(), max };
        let to = Box::new(captured.clone());
        (Out { to, json: true, is_terminal: false, has_color: false }, captured)
    }

    /// Prints a line. What others wrote is to be [escaped](text::escaped) in it.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Result<(), Fault> {
        self.to.write_all(line.as_ref().as_bytes())?;
        Ok(self.to.write_all(b"\n")?)
    }

    /// Prints a JSON document on a line.
    pub(crate) fn document(&mut self, document: &impl Serialize) -> Result<(), Fault> {
        let json = serde_json::to_string(document);
        let json = json.map_err(|error| Fault::bad(format!("cannot be shown as JSON: {error}")))?;
        self.line(text::escaped_json(&json))
    }

    /// `text` in a style, if colours are used.
    pub(crate) fn styled(&self, style: Style, text: &str) -> String {
        match self.has_color {
            true => format!("\u{1b}[{}m{text}\u{1b}[0m", style.code()),
            false => text.to_owned(),
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        Ok(self.to.flush()?)
    }

    /// Where bytes go that are not text for people.
    pub(crate) fn bytes(&mut self) -> &mut dyn Write {
        &mut *self.to
    }
}

/// What was printed into memory.
#[cfg(feature = "mcp")]
#[derive(Clone)]
pub(crate) struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    max: usize,
}

#[cfg(feature = "mcp")]
impl Captured {
    pub(crate) fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(feature = "mcp")]
impl Write for Captured {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() + more.len() > self.max {
            let message = format!("the answer is longer than {} bytes; ask for less", self.max);
            return Err(std::io::Error::other(message));
        }
        bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
