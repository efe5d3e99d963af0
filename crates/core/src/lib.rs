//! The pure heart of GeoFilter: no I/O, no clock, no async, no unsafe.
//!
//! Reading order: [`country`] names the countries, [`steps`] holds a function over the address space,
//! [`world`] maps every address to a country and [`geodata`] builds it from its sources. [`policy`] is
//! what the operator chose, [`packet`] reads a frame and [`decide`] judges it; [`overrides`] are exemptions
//! and bans, [`book`] how they are asked for, [`tracker`] learns the peers; [`dxr`] is a table as the kernel searches it. [`desired`] is what a data plane is asked to do, [`counters`] and [`event`]
//! are what it reports. [`change`] is what an operator asks, [`apply`] the machine that brings a host
//! there, [`wire`] what agent and clients say to each other. [`pbx`] reads what a PBX says of itself, and
//! [`surroundings`] what else has a say about packets on its host; [`detected`] puts the two together, and
//! [`doctor`] says what could go wrong there. [`logs`] reads who tried to get in, [`impact`] says what a
//! policy would have done about it, [`recommend`] which one to choose, [`evidence`] what came of one, and [`fail2ban`]
//! how far its bans are believed.

#![forbid(unsafe_code)]

pub mod apply;
pub mod book;
pub mod change;
pub mod clock;
pub mod counters;
pub mod country;
pub mod decide;
pub mod desired;
pub mod detected;
pub mod doctor;
pub mod dropped;
pub mod dxr;
pub mod event;
pub mod evidence;
pub mod fail2ban;
pub mod geodata;
pub mod impact;
pub mod limits;
pub mod logs;
pub mod overrides;
pub mod packet;
pub mod pbx;
pub mod policy;
pub mod recommend;
pub mod seen;
pub mod series;
pub mod steps;
pub mod surroundings;
pub mod tracker;
pub mod wire;
pub mod world;
