pub mod filmstrip;
pub mod fjall;
pub mod raw;
pub mod redb;
pub mod sled;
pub mod sqlite;
pub mod tephra;
pub mod umadb;
