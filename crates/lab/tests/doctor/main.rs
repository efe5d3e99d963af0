//! `doctor` sees each trap on a host that was prepared with it, and not on the same host without it, with
//! real agents, a real Asterisk and a real fail2ban. Its support file names nobody.
//!
//! Where a trap is a file of the kernel's, another file is mounted over it, in a mount namespace that ends
//! with the program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bundle;
mod host;
mod jails;
mod network;
mod phones;
mod support;
