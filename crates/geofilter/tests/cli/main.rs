//! The real binary against an agent whose data plane touches no kernel: [`commands`] holds what each
//! command does, [`agent`] what the daemon lives through, [`endings`] what breaks around it.

mod agent;
mod commands;
mod endings;
mod support;
