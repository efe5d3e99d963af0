//! What is read of files that others published, without where they come from: for the tests of hostile input alone.

use std::io::Read;

use geofilter_core::geodata::{AsTable, Listing};

use crate::sources::Format;
use crate::{images, unpack};

/// A file with countries, as it is imported.
///
/// # Errors
/// What is wrong with it.
pub fn countries(file: impl Read + 'static) -> Result<Listing, String> {
    let content = unpack::open(file).map_err(|error| error.to_string())?;
    images::read_listing(Format::Guess, content)
}

/// A database of autonomous systems.
///
/// # Errors
/// What is wrong with it.
pub fn systems(file: impl Read + 'static) -> Result<AsTable, String> {
    let content = unpack::open(file).map_err(|error| error.to_string())?;
    images::read_systems(Format::Mmdb, vec![content])
}
