//! Reads the IPFire location database: [`text`] its export, [`Database`] the file `location.db` itself.
//!
//! Of the networks around an address the smallest counts, also if it has no country. Anonymous proxies,
//! satellites and networks announced from many places at once are in no country. An address is announced
//! by the smallest network around it that names a system.

mod database;
mod signature;
pub mod text;

pub use database::{Database, DatabaseError};
pub use signature::{IPFIRE_KEY, InvalidKey, PublicKey, Trust};
