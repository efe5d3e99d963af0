//! The real binary against an agent whose data plane touches no kernel: [`commands`] holds what each
//! command does, [`agent`] what the daemon lives through.

mod agent;
mod commands;
mod support;
