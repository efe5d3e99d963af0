//! The compact form of the data: `frame` is the file around it, `blocks` how [`Steps`](crate::steps::Steps)
//! are cut, `borders` how their borders are written, `values` how what lies between them is; [`WorldImage`] and
//! [`AsImage`] put an image together. `docs/geo-data.md` describes the format.

mod asn;
mod blocks;
mod borders;
mod frame;
mod values;
mod world;

pub use asn::AsImage;
pub use frame::{ImageError, Packing};
pub use world::WorldImage;

#[cfg(test)]
mod tests;
