//! The real binary against an agent whose data plane touches no kernel: [`commands`] holds what each
//! command does, [`agent`] what the daemon lives through, [`endings`] what breaks around it, [`overrides`]
//! exemptions, bans and peers, [`names`] those by host name, with a [`dns`] server of their own, [`logs`] what is
//! read of logs, and [`database`] of fail2ban's.

mod agent;
mod commands;
mod database;
mod dns;
mod endings;
mod logs;
mod names;
mod overrides;
mod support;
