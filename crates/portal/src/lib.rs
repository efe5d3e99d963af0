//! The portal: a web page and an HTTP API for operators, in a process of its own that has no privileges. All it can do to
//! a host is to send its [`agent`] a `geofilter_core::wire::Request`, over a socket that the agent keeps for it.
//!
//! [`Settings`] say where it serves and what it keeps; [`run`] serves, to others than this host by [`tls`], to who asks by one of its [`names`]. An operator's request passes [`session`], which says
//! whose it is, goes from the [`api`] to the agent, and what it changed into the [`store`]; [`problem`] is how anything is
//! refused, [`hub`] tells pages what is live, [`keeper`] keeps what it sees, step by step ([`geofilter_core::series`]), [`notices`] tells others by the [`courier`], [`page`] is the page itself. Other hosts connect to the portal of a [`fleet`].

mod agent;
mod api;
mod clock;
mod connections;
pub mod courier;
mod enrolment;
mod error;
pub mod fleet;
mod host;
mod hub;
mod keeper;
mod memory;
mod metrics;
mod names;
mod notices;
mod page;
pub mod parsers;
mod passwords;
mod problem;
mod reset;
pub mod sandbox;
mod secret;
mod server;
mod session;
mod settings;
mod store;
mod throttle;
mod tls;
mod totp;

pub use api::document;
pub use enrolment::{Invitation, invite};
pub use error::Error;
pub use reset::reset;
pub use server::{Ready, run};
pub use settings::Settings;
pub use store::Server;
pub use tls::Pem;
