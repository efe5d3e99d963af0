//! Tests only: what end-to-end tests share.
//!
//! [`site`] is a PBX host and the internet in [`namespace`]s of their own, [`phones`] what reaches the PBX there,
//! [`neighbours`] others on that host, [`process`] the real binary, [`tmux`] a terminal for it, [`plane`] the data plane
//! without an agent, [`addresses`] real addresses of real countries, [`nameserver`] what the host asks for names.
//! [`asterisk`] and [`kamailio`] are real PBXs and [`fail2ban`] a real fail2ban, fetched by [`pbx`]; others run in a
//! [`root`] of their own, and a whole Debian is [`booted`]. [`standin`] answers as a PBX would. [`guarded`] asks whether a filter holds whatever those do,
//! also before a [`container`]; [`vandals`] take it away. [`images`] builds what the program embeds, a [`disk`] is soon full, and what is [`awaited`] has a time to come.
//!
//! [`attack`] guesses, in the [`sip`] that takes, and a [`botnet`] does so at a real PBX, in a [`siege`]. [`calls`] speak
//! with a real one, during a [`flood`] ([`load`]) or [`changes`] of the filter; [`intruders`] are inside already. [`gun`]
//! and [`generator`] fire for benchmarks, [`rivals`] are other filters to compare with, [`verdicts`] asks any filter about
//! thousands of sources. [`receivers`] take what the portal tells others. Of a [`fleet`] there are many [`sites`] on one internet, and a
//! [`leader`], or a [`crowd`] in memory; a [`forwarder`] stands before portals or fails between, a [`pooler`] before their database, and hosts may be behind a [`proxy`]. An
//! [`interrupt`] takes a demonstration down, whose [`style`] is that of a terminal. A [`board`] is Grafana's.

pub mod addresses;
pub mod asterisk;
pub mod attack;
pub mod authenticator;
pub mod awaited;
pub mod board;
pub mod booted;
pub mod botnet;
pub mod browser;
pub mod calls;
pub mod changes;
pub mod container;
pub mod crowd;
pub mod crowdsec;
pub mod devices;
pub mod disk;
pub mod fail2ban;
pub mod fileserver;
pub mod firewalls;
pub mod fleet;
pub mod flood;
pub mod forwarder;
pub mod generator;
pub mod guarded;
pub mod gun;
pub mod images;
pub mod interrupt;
pub mod intruders;
pub mod kamailio;
pub mod kernels;
pub mod leader;
pub mod load;
pub mod nameserver;
pub mod namespace;
pub mod neighbours;
pub mod ordeal;
pub mod pbx;
pub mod phones;
pub mod plane;
pub mod pooler;
pub mod portal;
pub mod process;
pub mod processors;
pub mod proxy;
pub mod receivers;
pub mod rivals;
pub mod root;
pub mod siege;
pub mod sip;
pub mod site;
pub mod sites;
pub mod standin;
pub mod style;
pub mod tmux;
pub mod trunk;
pub mod vandals;
pub mod verdicts;
