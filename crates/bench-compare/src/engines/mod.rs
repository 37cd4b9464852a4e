//! The engines that are compared.

pub mod evento;
pub mod filmstrip;
pub mod fjall;
pub mod raw;
pub mod redb;
pub mod sled;
pub mod sqlite;
pub mod tephra;
pub mod umadb;

use crate::engine::Engine;

/// Every engine, filmstrip first.
pub fn all() -> Vec<Box<dyn Engine>> {
    vec![
        Box::new(filmstrip::Filmstrip),
        Box::new(raw::Raw),
        Box::new(tephra::Tephra),
        Box::new(umadb::Umadb),
        Box::new(evento::Evento),
        Box::new(sled::Sled),
        Box::new(sqlite::Sqlite),
        Box::new(redb::Redb),
        Box::new(fjall::Fjall),
    ]
}

/// The engine of this name.
pub fn named(name: &str) -> Box<dyn Engine> {
    all().into_iter().find(|engine| engine.name() == name).expect("an engine of this name")
}
