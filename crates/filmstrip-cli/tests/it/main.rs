//! The tests of the command line: the program itself, on real stores, most of them beside a writer.

mod book;
mod common;
mod foreign;
mod help;
mod inputs;
mod keep;
mod large;
mod look;
#[cfg(feature = "mcp")]
mod mcp;
mod private;
mod replicas;
mod running;
#[cfg(feature = "studio")]
mod studio;
mod terminal;
mod transfer;
mod wrong;
