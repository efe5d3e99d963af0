//! What hosts and their portal say to each other, and how they know each other.
//!
//! A portal is an [`Authority`]: it vouches for its hosts and for itself, and nobody else is trusted. An administrator carries a
//! [`Ticket`] to a host, which pins that authority; by it the host is [enrolled](Client::enrol) and gets a certificate, and from then on is
//! a [`Membership`](geofilter_core::wire::Membership). It connects and the portal never does: a [`Stream`] of [`Snapshot`]s comes down, each the whole of what the host is to do;
//! a [`Report`] of what is in force goes up. [`bans`] are shared by the same way.

mod authority;
pub mod bans;
mod client;
mod membership;
mod message;
mod pause;
mod ticket;
mod trust;
pub mod world;

pub use authority::{Authority, Issued};
pub use client::{Client, Error, Stream, heard};
pub use membership::Request;
pub use message::{
    CUTS, Enrol, Enrolled, Heard, HostId, Mark, Previewed, Question, Refused, Renew, Renewed,
    Report, Said, Served, Snapshot, Standing, digest,
};
pub use pause::{LATEST, pause};
pub use ticket::{NoTicket, Pin, Ticket};
pub use trust::{host_of, server};

/// How long a host's certificate is good.
pub const LIFETIME: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);
/// How long a ticket is.
pub const TICKET_LIFETIME: std::time::Duration = std::time::Duration::from_secs(15 * 60);
/// How often the portal says that it is still there.
pub const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(45);

/// Steps that a host says at a time at most.
pub const SLOTS: usize = 60;
/// Days that it says at a time at most.
pub const DAYS: usize = 8;

/// Where a host enrols, without a certificate.
pub const ENROL: &str = "/fleet/v1/enrol";
/// Where it gets another certificate, by the one that it has.
pub const RENEW: &str = "/fleet/v1/renew";
/// Where a host says that it is one no more, by its certificate.
pub const LEAVE: &str = "/fleet/v1/leave";
/// Where a host listens and speaks: its connection is upgraded (RFC 9110, 7.8) to [`PROTOCOL`], by which each side says a line of JSON
/// after another, [`Said`] and [`Heard`].
pub const STREAM: &str = "/fleet/v1/stream";
/// Where a host pulls world data, before its digest.
pub const WORLD: &str = "/fleet/v1/world/";
/// See [`STREAM`].
pub const PROTOCOL: &str = "geofilter-fleet/1";
