//! Geographic data: from the files of its sources to the [`World`](crate::world::World).
//!
//! Reading order: [`range_csv`], [`maxmind_csv`], [`delegated`], [`mmdb`] and [`ipfire`] read countries into
//! a [`Listing`], and [`as_csv`] and the last two systems into an [`AsTable`]; [`hosting`] says, with
//! [`as_classes`], which of these are hosting companies; [`merge`] puts them together, with the
//! [`corrections`] of the administrator; [`WorldData`] is the result, and [`gate`] whether it may replace
//! the one before; [`image`] is its compact form, and [`embedded`] the images that come with the program.
//! `docs/geo-data.md` says where they come from.

pub mod as_classes;
pub mod as_csv;
pub mod asn;
pub mod bundle;
pub mod corrections;
pub mod delegated;
pub mod embedded;
mod fields;
mod fold;
pub mod gate;
pub mod hosting;
pub mod image;
pub mod ipfire;
pub mod line;
mod listing;
pub mod maxmind_csv;
pub mod merge;
pub mod mmdb;
mod names;
pub mod range_csv;
mod ranges;
mod world_data;

pub use asn::{Announcement, AsNumber, AsTable};
pub use image::{AsImage, ImageError, Packing, WorldImage};
pub use listing::{Layer, Listing};
pub use merge::Says;
pub use world_data::{Edition, SourceInfo, WorldData};
