//! What hosts and their portal say to each other, and how they know each other.
//!
//! A portal is an [`Authority`]: it vouches for its hosts and for itself, and nobody else is trusted. An administrator carries a
//! [`Ticket`] to a host, which pins that authority; by it the host is [enrolled](Client::enrol) and gets a certificate, and from then on is
//! a [`Membership`](geofilter_core::wire::Membership). It connects and the portal never does: a [`Stream`] of [`Snapshot`]s comes down, each the whole of what the host is to do;
//! a [`Report`] of what is in force goes up.

mod authority;
mod client;
mod membership;
mod message;
mod ticket;
mod trust;

pub use authority::{Authority, Issued};
pub use client::{Client, Error, Stream, events};
pub use membership::Request;
pub use message::{
    Enrol, Enrolled, HostId, Mark, Refused, Renew, Renewed, Report, Snapshot, Standing, digest,
};
pub use ticket::{NoTicket, Pin, Ticket};
pub use trust::{host_of, server};

/// How long a host's certificate is good.
pub const LIFETIME: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);
/// How long a ticket is.
pub const TICKET_LIFETIME: std::time::Duration = std::time::Duration::from_secs(15 * 60);
/// How often the portal says that it is still there.
pub const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(45);

/// Where a host enrols, without a certificate.
pub const ENROL: &str = "/fleet/v1/enrol";
/// Where it gets another certificate, by the one that it has.
pub const RENEW: &str = "/fleet/v1/renew";
/// Where snapshots come from, as server-sent events.
pub const STREAM: &str = "/fleet/v1/stream";
/// Where reports go.
pub const REPORT: &str = "/fleet/v1/report";
