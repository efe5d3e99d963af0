//! Tests only: what end-to-end tests share. [`site`] is a PBX host and the internet in [`namespace`]s of
//! their own, [`process`] the real binary, [`addresses`] real addresses of real countries. [`standin`]
//! answers as a PBX would, in the [`sip`] that takes, and [`images`] builds what the program embeds.

pub mod addresses;
pub mod attack;
pub mod images;
pub mod namespace;
pub mod process;
pub mod sip;
pub mod site;
pub mod standin;
