//! The compact form of the data: `frame` is the file around it, `borders` how the borders of
//! [`Steps`](crate::steps::Steps) are written, `values` how what lies between them is; `world` and `asn`
//! put an image together. `docs/geo-data.md` describes the format.

mod asn;
mod borders;
mod frame;
mod values;
mod world;

pub use frame::ImageError;

#[cfg(test)]
mod tests;
