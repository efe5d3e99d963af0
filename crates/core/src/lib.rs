//! The pure heart of GeoFilter: no I/O, no clock, no async, no unsafe.
//!
//! Reading order: [`country`] names the countries, [`steps`] holds a function over the address space,
//! [`world`] maps every address to a country and [`geodata`] builds it from its sources. [`policy`] is
//! what the operator chose, [`packet`] reads a frame and [`decide`] judges it; [`dxr`] is the table as
//! the kernel searches it. [`desired`] is what a data plane is asked to do, [`counters`] and [`event`]
//! are what it reports.

#![forbid(unsafe_code)]

pub mod counters;
pub mod country;
pub mod decide;
pub mod desired;
pub mod dxr;
pub mod event;
pub mod geodata;
pub mod packet;
pub mod policy;
pub mod steps;
pub mod world;
