//! The real binary against an agent whose data plane touches no kernel: [`commands`] holds what each
//! command does, [`agent`] what the daemon lives through, [`endings`] what breaks around it, [`overrides`]
//! exemptions, bans and peers, [`names`] those by host name, with a [`dns`] server of their own, [`logs`] what is
//! read of logs, [`database`] of fail2ban's, and [`recommend`] what is made of it.

mod agent;
mod commands;
mod database;
mod dns;
mod endings;
mod logs;
mod names;
mod overrides;
mod recommend;
mod support;
