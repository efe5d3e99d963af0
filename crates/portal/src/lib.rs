//! The portal: a web page and an HTTP API for operators, in a process of its own that has no privileges. All it can do to
//! a host is to send its agent a `geofilter_core::wire::Request`, over a [socket](agent) that the agent keeps for it.
//!
//! [`Settings`] say where it serves and what it keeps; [`Portal`] is one that listens. An operator's request goes from the
//! [`api`] to the agent, and what it changed into the [`store`]; [`problem`] is how anything is refused.

mod settings;

pub use settings::Settings;
