//! The real binary against an agent whose data plane touches no kernel: [`commands`] holds what each
//! command does, [`agent`] what the daemon lives through, [`endings`] what breaks around it, [`overrides`]
//! exemptions, bans and peers, [`names`] those by host name, with a [`dns`] server of their own.

mod agent;
mod commands;
mod dns;
mod endings;
mod names;
mod overrides;
mod support;
