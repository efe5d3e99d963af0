//! The command line as clap reads it. Every argument becomes a validated type here.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use geofilter_core::book::{HostName, Note};
use geofilter_core::change::Risk;
use geofilter_core::counters::Reason;
use geofilter_core::country::CountryCode;
use geofilter_core::fail2ban::Jail;
use geofilter_core::policy::{Disputed, Mode, Ports, Transport, Verdict};
use geofilter_portal::Server;

use super::calendar::{From, Until};

/// Where an agent listens unless told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/geofilter/agent.sock";
/// Where the portal listens unless told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8470";

/// A geographic firewall for phone systems: traffic to the PBX from countries you did not select is
/// dropped in the kernel.
#[derive(Debug, Parser)]
#[command(name = "geofilter", version, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 refused as risky, 4 agent unreachable."
)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The agent's socket.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "GEOFILTER_SOCKET",
        default_value = DEFAULT_SOCKET,
        value_parser = socket()
    )]
    pub(crate) socket: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print without colours.
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Try GeoFilter on this host: agent and portal in the foreground, reverting everything when it ends
    ///
    /// It observes until told otherwise. What `geofilter agent` has saved in the same directory is observed,
    /// not enforced, and stays saved for it.
    Up(Up),
    /// Run the host's daemon in the foreground
    Agent(Agent),
    /// The web page and API of this host
    #[command(subcommand)]
    Portal(Box<Portal>),
    /// Let in only these countries
    Allow(Select),
    /// Keep out these countries
    Block(Select),
    /// Keep the pending change
    Confirm,
    /// Undo the pending change
    Revert,
    /// Count what the policy would drop, and drop nothing
    Observe,
    /// Let everything pass for a while
    Pause(Pause),
    /// End a pause
    Resume,
    /// Detach everything, and prove that nothing remains
    Off,
    /// Show the state, the policy and what was dropped
    Status,
    /// Show what happens to an address, and why
    Why(Why),
    /// Sources that pass whatever their country
    #[command(subcommand)]
    Exempt(Exempt),
    /// Sources that are dropped whatever their country
    #[command(subcommand)]
    Ban(Ban),
    /// Addresses the PBX itself sent a request to
    #[command(subcommand)]
    Peer(Peer),
    /// Say whether an address must never be banned: exit code 0 if so, else 1
    Protected(Protected),
    /// What fail2ban's action `geofilter` calls
    ///
    /// A ban that anybody could have brought about with forged packets is short, and there are only so many
    /// of them; whoever is protected is not banned at all.
    #[command(subcommand)]
    Fail2ban(Fail2ban),
    /// Show recent drops
    Log(Log),
    /// Show what is dropped now, second by second, until q is pressed; with --json, once
    Top,
    /// Show whom a policy would cut
    Preview(Preview),
    /// Show the attempts and logins that the PBX logged, day by day, without a policy and with one
    Evidence(Evidence),
    /// Propose a policy from who logged in and who attacked
    ///
    /// It reads the logs that the PBX of this host and fail2ban write, and asks the PBX for its devices and trunks; or
    /// it reads only the logs that are named, which needs neither root nor an agent. It changes nothing.
    Recommend(Recommend),
    /// Find the PBX on this host, its ports and trunks, and what else filters there
    ///
    /// It asks Asterisk through its control socket, or its manager if the configuration has a login, and Kamailio
    /// through its control socket. It needs no agent and changes nothing; without root it sees little.
    Detect(Detect),
    /// Say whether the configuration makes sense: exit code 1 if not, with all that is wrong with it
    Check(Check),
    /// Say what could go wrong on this host, and how to mend it: exit code 1 if something is wrong now
    ///
    /// It changes nothing, and says what it could not look at: without root or an agent that is much.
    Doctor(Doctor),
    /// Write the state of this host into one file: its policy, exemptions and bans, and what the portal keeps
    ///
    /// The agent and the portal may run meanwhile. The file has passwords' hashes and the portal's other secrets in it: only its
    /// owner can read it.
    Backup(Saved),
    /// Make the state in such a file that of this host
    ///
    /// Neither the agent nor the portal may run. What was there before is set aside, whole, and named.
    Restore(Saved),
    /// Make this host one of a portal, which then chooses its policy
    ///
    /// What the portal asks is put in force as it would be for an operator here: whoever it would cut is named and
    /// nobody is cut unless the risk was accepted. The host connects to the portal and never the other way, also
    /// by the proxy that HTTPS_PROXY names where the agent has it. Exemptions stay its own; bans of single addresses
    /// are shared with the other hosts. Without its portal it goes on with what it was asked last.
    Enrol(Enrol),
    /// Be no host of a portal any more; what is in force stays
    Leave,
    #[command(subcommand, hide = true)]
    Fleet(FleetCommand),
    /// World data
    #[command(subcommand)]
    Geodb(Geodb),
    /// Print the completions of a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man {
        /// Write a page for every command into this directory instead.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Protect this interface; may be repeated. Without it, the interfaces with a default route.
    #[arg(long = "interface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,
    /// Where the state is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where the socket is.
    #[arg(long, value_name = "DIR")]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// The data plane.
    #[arg(long, value_enum)]
    pub(crate) backend: Option<Choice>,
}

/// Which data plane to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Choice {
    /// The best that the interface takes
    Auto,
    /// XDP in the driver
    Xdp,
    /// XDP in the stack
    XdpGeneric,
    /// Traffic control ingress
    Tc,
    /// A table of nftables, for hosts that let nobody load BPF programs
    Nft,
    #[value(hide = true)]
    Memory,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Where the portal listens.
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Let in only these countries, at once.
    #[arg(long, value_name = "CC", num_args = 1.., conflicts_with = "block")]
    pub(crate) allow: Vec<String>,
    /// Keep out these countries, at once.
    #[arg(long, value_name = "CC", num_args = 1..)]
    pub(crate) block: Vec<String>,
    /// Exempt the devices that are registered now and that this would cut, for this long.
    #[arg(long, value_name = "TIME")]
    pub(crate) keep_registered: Option<Span>,
    /// Accept this danger; may be repeated.
    #[arg(long, value_name = "RISK", value_parser = risk())]
    pub(crate) accept_risk: Vec<Risk>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Agent {
    /// A TOML file with the same settings; the command line goes before it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Portal {
    /// Serve in the foreground, without privileges
    ///
    /// The agent serves it on a socket of its own, if its configuration names the portal's user:
    /// `[portal] user = "geofilter-portal"`. `geofilter up` starts both.
    Run(Box<PortalRun>),
    /// Let an operator in again who has lost password or device
    ///
    /// It prints a new password, takes off the second factor, and ends the operator's sessions. The portal
    /// may serve meanwhile.
    Reset(PortalReset),
    /// Make a token that enrols one host, once, within a quarter of an hour
    ///
    /// Run `geofilter enrol` with it on that host. The portal may serve meanwhile.
    Token(PortalToken),
    /// What `portal run` starts to carry its notices.
    #[command(hide = true)]
    Courier,
    /// What `portal run` starts to fetch world data for a fleet.
    #[command(hide = true)]
    Fetcher(PortalFetcher),
}

#[derive(Debug, Args)]
pub(crate) struct PortalFetcher {
    /// The portal's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
    /// The TOML file whose `[geodata]` says where world data comes from.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Ranges and countries as CSV, a MaxMind DB, IPFire's database, or delegated statistics; also compressed by
    /// gzip or xz. Of several files the last one counts where they speak of the same.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The locations that the networks in files of GeoLite2 refer to.
    #[arg(long, value_name = "FILE")]
    pub(crate) locations: Option<PathBuf>,
    /// What to call the source; without it, what the first file is called.
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PortalReset {
    /// The operator's name.
    pub(crate) name: String,
    /// The portal's folder.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/geofilter/portal")]
    pub(crate) state_dir: PathBuf,
    /// The PostgreSQL server that keeps its database, such as postgres://geofilter:PASSWORD@db.example.net/geofilter, in the place of
    /// a file in its folder: several portals may share it.
    #[arg(long, value_name = "URL", env = "GEOFILTER_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<Server>,
}

#[derive(Debug, Args)]
pub(crate) struct Enrol {
    /// The portal, such as https://portal.example.com:8443.
    #[arg(value_name = "URL")]
    pub(crate) portal: String,
    /// What the portal's page, or `geofilter portal token`, shows. It is good once.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: String,
    /// What to call this host there; its own name without.
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum FleetCommand {
    /// What the agent starts to speak to the portal.
    Link,
    /// What the agent starts to pull world data from it.
    Pull,
}

#[derive(Debug, Args)]
pub(crate) struct PortalToken {
    /// The group that the host joins, which is made if there is none.
    pub(crate) group: String,
    /// The organisation whose group that is, which is made if there is none; without it the one that has such a group, or the first.
    #[arg(long, value_name = "NAME")]
    pub(crate) organisation: Option<String>,
    /// The portal's folder.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/geofilter/portal")]
    pub(crate) state_dir: PathBuf,
    /// The PostgreSQL server that keeps its database, such as postgres://geofilter:PASSWORD@db.example.net/geofilter, in the place of
    /// a file in its folder: several portals may share it.
    #[arg(long, value_name = "URL", env = "GEOFILTER_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<Server>,
}

#[derive(Debug, Args)]
pub(crate) struct PortalRun {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Where the hosts of a fleet connect, such as 0.0.0.0:8443; without it this is the portal of one host.
    #[arg(long, value_name = "ADDR")]
    pub(crate) fleet: Option<SocketAddr>,
    /// A TOML file as the agent has, of which `[geodata]` says where the world data comes from that the hosts of the fleet are served,
    /// and how often; the portal's user reads it. Without it, from where an agent has it, once a day.
    #[arg(long, value_name = "FILE", requires = "fleet")]
    pub(crate) config: Option<PathBuf>,
    /// Seconds over which the hosts of the fleet pull newer world data, so that not all do at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 900, requires = "fleet", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(crate) world_spread: u64,
    /// Serve the hosts of the fleet no world data: each fetches its own.
    #[arg(long, requires = "fleet", conflicts_with_all = ["config", "world_spread"])]
    pub(crate) no_world_data: bool,
    /// A certificate to show browsers, in PEM, with those that vouch for it. Where it can be reached from elsewhere, the
    /// portal makes one of its own without it, and prints its fingerprint.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// What browsers call it besides its addresses, this host's name and those in the certificate.
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Its folder, which nobody else can enter.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/geofilter/portal")]
    pub(crate) state_dir: PathBuf,
    /// The PostgreSQL server that keeps its database, such as postgres://geofilter:PASSWORD@db.example.net/geofilter, in the place of
    /// a file in its folder: several portals may share it.
    #[arg(long, value_name = "URL", env = "GEOFILTER_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<Server>,
    /// The socket that the agent keeps for it.
    #[arg(long, value_name = "PATH", default_value = "/run/geofilter/portal.sock")]
    pub(crate) agent: PathBuf,
    /// Become this user first; needs root, who may not serve.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The `up` whose child it is: it is told in JSON, and this process ends with it.
    #[arg(long, value_name = "PID", hide = true)]
    pub(crate) beside: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Select {
    /// Alpha-2 codes, English names or groups such as @eu.
    #[arg(value_name = "CC")]
    pub(crate) countries: Vec<String>,
    /// Add the countries to the selection.
    #[arg(long, conflicts_with = "remove")]
    pub(crate) add: bool,
    /// Remove the countries from the selection.
    #[arg(long)]
    pub(crate) remove: bool,
    /// Select the countries only from this time on, with --until; the rest of the policy stays. A time is
    /// 2027-07-01, 2027-07-01T08:30, or either with a zone as 2027-07-01T08:30Z; without it, from now on.
    #[arg(long, value_name = "TIME", requires = "until", conflicts_with_all = ["add", "remove"])]
    pub(crate) from: Option<From>,
    /// Select the countries only until this time; a date includes the whole day.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["add", "remove"])]
    pub(crate) until: Option<Until>,
    /// What happens to sources whose country is unknown.
    #[arg(long, value_name = "VERDICT", value_parser = word::<Verdict>(&["pass", "drop"]))]
    pub(crate) unknown: Option<Verdict>,
    /// What happens to sources in hosting networks, whatever their country.
    #[arg(long, value_name = "VERDICT", value_parser = word::<Verdict>(&["pass", "drop"]))]
    pub(crate) hosting: Option<Verdict>,
    /// How sources are judged whose country is disputed.
    #[arg(long, value_name = "HOW", value_parser = word::<Disputed>(&["lenient", "primary", "strict"]))]
    pub(crate) disputed: Option<Disputed>,
    /// The protected ports, such as udp/5060,tcp/5060-5061.
    #[arg(long, value_name = "PROTO/PORT", value_delimiter = ',')]
    pub(crate) scope: Option<Vec<Ports>>,
    /// Go back by itself unless confirmed within this time.
    #[arg(long, value_name = "TIME", conflicts_with = "yes")]
    pub(crate) confirm_within: Option<Span>,
    /// Exempt the devices that are registered now and that this would cut, for this long.
    #[arg(long, value_name = "TIME")]
    pub(crate) keep_registered: Option<Span>,
    /// Show what this would do, and do nothing.
    #[arg(long, conflicts_with_all = ["yes", "confirm_within"])]
    pub(crate) dry_run: bool,
    /// Ask nothing, and keep it without a confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Accept this danger; may be repeated.
    #[arg(long, value_name = "RISK", value_parser = risk())]
    pub(crate) accept_risk: Vec<Risk>,
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// For how long.
    #[arg(long = "for", value_name = "TIME", default_value = "10m")]
    pub(crate) span: Span,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The source: an address, or a host name, which stands for its addresses.
    #[arg(value_name = "ADDR|HOSTNAME")]
    pub(crate) subject: Subject,
    /// The destination port; without it, the first protected one.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// The protocol; without it, that of the first protected port.
    #[arg(long, value_parser = word::<Transport>(&["udp", "tcp"]))]
    pub(crate) proto: Option<Transport>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Exempt {
    /// Let sources in whatever their country
    ///
    /// What is exempt already gets the new end and note.
    Add(Add),
    /// End exemptions
    Remove(Targets),
    /// Show exemptions
    List(Only),
    /// Show the lists of addresses that providers publish
    Providers,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ban {
    /// Keep sources out whatever their country
    ///
    /// Exemptions and peers pass nevertheless. What is banned already gets the new end and note. An IPv6
    /// address is banned with its /64, unless it is written with /128.
    Add(Add),
    /// End bans
    Remove(Targets),
    /// Show bans
    List(Only),
}

/// What to exempt or ban.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// For how long; for ever without it.
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) span: Option<Span>,
    /// A remark.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: Note,
}

#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// Addresses, prefixes (203.0.113.0/24), ASes (AS64500); for exemptions also host names and @providers.
    /// A single - reads them from standard input, one a line.
    #[arg(value_name = "TARGET", required = true)]
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Only {
    /// Only those for these targets.
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Peer {
    /// Show the peers
    List,
    /// End a peer, until the PBX sends it another request
    Remove {
        /// Its address and port, such as 203.0.113.9:5060.
        #[arg(value_name = "ADDR:PORT")]
        peer: SocketAddr,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Protected {
    /// The address.
    #[arg(value_name = "ADDR")]
    pub(crate) address: IpAddr,
    /// Say nothing.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Fail2ban {
    /// Ban somebody; the log lines behind that are read from standard input
    Ban {
        #[command(flatten)]
        ticket: Ticket,
        #[command(flatten)]
        of: OfJail,
        /// 1 for a ban from before fail2ban was restarted, <restored>.
        #[arg(long, value_name = "0|1", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
        restored: u8,
    },
    /// End a ban, unless another jail asked for one that lasts longer
    Unban {
        #[command(flatten)]
        ticket: Ticket,
    },
    /// Fail if the jail believes somebody banned who is not
    Check(OfJail),
    /// Have the jail ban anew whom it finds again
    Repair(OfJail),
}

#[derive(Debug, Args)]
pub(crate) struct Ticket {
    /// Whom, <ip>.
    #[arg(value_name = "ADDR")]
    pub(crate) address: IpAddr,
    /// When it began, in seconds since 1970, <time>.
    #[arg(long, value_name = "SECONDS", value_parser = seconds_of_fail2ban)]
    pub(crate) time: u64,
    /// How many seconds it lasts, <bantime>; less than none is for ever.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) bantime: i64,
}

#[derive(Debug, Args)]
pub(crate) struct OfJail {
    /// The jail, <name>.
    #[arg(long, value_name = "NAME")]
    pub(crate) jail: Jail,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Go on with those to come.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only from this country.
    #[arg(long, value_name = "CC", value_parser = country)]
    pub(crate) country: Option<CountryCode>,
    /// Only for this reason.
    #[arg(long, value_parser = word::<Reason>(&["martian", "ban", "country", "unknown", "hosting"]))]
    pub(crate) reason: Option<Reason>,
}

#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// The mode to try; without it, the agent's policy is tried.
    #[arg(value_parser = mode)]
    pub(crate) mode: Option<Mode>,
    /// Its countries.
    #[arg(value_name = "CC")]
    pub(crate) countries: Vec<String>,
    /// What happens to sources whose country is unknown.
    #[arg(long, value_name = "VERDICT", requires = "mode", value_parser = word::<Verdict>(&["pass", "drop"]))]
    pub(crate) unknown: Option<Verdict>,
    /// What happens to sources in hosting networks.
    #[arg(long, value_name = "VERDICT", requires = "mode", value_parser = word::<Verdict>(&["pass", "drop"]))]
    pub(crate) hosting: Option<Verdict>,
    /// How sources are judged whose country is disputed.
    #[arg(long, value_name = "HOW", requires = "mode", value_parser = word::<Disputed>(&["lenient", "primary", "strict"]))]
    pub(crate) disputed: Option<Disputed>,
    /// The protected ports, such as udp/5060,tcp/5060-5061.
    #[arg(long, value_name = "PROTO/PORT", requires = "mode", value_delimiter = ',')]
    pub(crate) scope: Option<Vec<Ports>>,
    /// Try it on these addresses: a file with one a line, or - for standard input. Without it, on those
    /// whom the agent of this host has seen, and on its phones, trunks and sessions.
    #[arg(long, value_name = "FILE")]
    pub(crate) addresses: Option<PathBuf>,
    /// Try it on the attempts and logins that these logs tell of: Asterisk's messages and security events,
    /// fail2ban's log and database, and Kamailio's log, as files (gzip too), or - for standard input. Name the policy before.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "addresses")]
    pub(crate) log: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Evidence {
    /// How many days to show; all of them are compared.
    #[arg(long, value_name = "N", default_value_t = 14)]
    pub(crate) days: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Recommend {
    /// Only from these logs: as `preview` reads them.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) log: Vec<PathBuf>,
    /// The agent's TOML file, for the login to Asterisk's manager.
    #[arg(long, value_name = "FILE", conflicts_with = "log")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Detect {
    /// The agent's TOML file, for the login to Asterisk's manager.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The agent's TOML file.
    #[arg(long, value_name = "FILE", default_value = "/etc/geofilter/geofilter.toml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The agent's TOML file, for its directories and the login to Asterisk's manager.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write a support file for a bug report instead, without addresses and names; `-` is standard output.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub(crate) bundle: Option<Option<PathBuf>>,
}

#[derive(Debug, Args)]
pub(crate) struct Saved {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The agent's TOML file, for its directories.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the state is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Geodb {
    /// Show which data is in use, and whose it is
    Status,
    /// Ask the sources for newer data, and use it unless it differs too much
    ///
    /// The agent fetches it, compares it with what is in use, and changes the kernel's table in one step. It does so by
    /// itself once a day. What differs too much, or would cut a trunk or a registered device, is held until it is approved: exit
    /// code 3.
    Update,
    /// Take the countries of files of this host, instead of a source's
    ///
    /// They are compared with what is in use as any update is.
    Import(Import),
    /// Use the data that is held because it differs too much
    Approve,
    /// Use the data that was in use before
    Rollback,
    /// What the agent starts to fetch data.
    #[command(hide = true)]
    Work,
    /// Show what the data says of an address
    Lookup {
        /// The address.
        #[arg(value_name = "ADDR")]
        address: IpAddr,
    },
}

/// Whom `why` asks about.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Address(IpAddr),
    Name(HostName),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.parse(), text.parse()) {
            (Ok(address), _) => Ok(Self::Address(address)),
            (Err(_), Ok(name)) => Ok(Self::Name(name)),
            (Err(_), Err(error)) => Err(format!("it is no address, and no host name: {error}")),
        }
    }
}

/// A length of time as written: `60s`, `10m`, `2h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) seconds: u64,
}

const YEAR: u64 = 366 * 86_400;

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || "write a number and s, m, h or d, from 1s to 366d, such as 10m".to_owned();
        let unit = text.chars().last().ok_or_else(invalid)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(invalid()),
        };
        let digits = &text[..text.len() - unit.len_utf8()];
        let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        seconds
            .filter(|seconds| (1..=YEAR).contains(seconds))
            .map(|seconds| Self { seconds })
            .ok_or_else(invalid)
    }
}

/// A time as fail2ban writes it, to the second as its database has it.
fn seconds_of_fail2ban(text: &str) -> Result<u64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=9e9).contains(seconds));
    seconds
        .map(|seconds| seconds.round() as u64)
        .ok_or_else(|| "write seconds since 1970".to_owned())
}

/// An empty variable is as good as none.
fn socket() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    use clap::builder::TypedValueParser;
    clap::builder::OsStringValueParser::new().map(|path| match path.is_empty() {
        true => PathBuf::from(DEFAULT_SOCKET),
        false => PathBuf::from(path),
    })
}

/// Reads one of the words that a type of `core` is written as.
fn word<T>(words: &'static [&'static str]) -> impl clap::builder::TypedValueParser<Value = T>
where
    T: serde::de::DeserializeOwned + Clone + Send + Sync + 'static,
{
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(words)
        .try_map(|word| serde_json::from_value::<T>(serde_json::Value::String(word)))
}

/// A danger by its name.
fn risk() -> impl clap::builder::TypedValueParser<Value = Risk> {
    word::<Risk>(&[
        "cut-everyone",
        "lose-trunk",
        "lose-phones",
        "lose-ssh",
        "lose-portal",
        "slow-nft",
    ])
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "allow" => Ok(Mode::AllowSelected),
        "block" => Ok(Mode::BlockSelected),
        _ => Err("write `allow` or `block`, then the countries".to_owned()),
    }
}

fn country(text: &str) -> Result<CountryCode, String> {
    if text.eq_ignore_ascii_case("zz") {
        return Ok(geofilter_core::country::CountryId::UNKNOWN.code());
    }
    let selected = geofilter_core::country::select([text]).map_err(|error| error.to_string())?;
    match (selected.iter().next(), selected.len()) {
        (Some(country), 1) => Ok(country.code()),
        _ => Err("name one country".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_consistent() {
        use clap::CommandFactory;
        Line::command().debug_assert();
    }

    #[test]
    fn spans_are_read() {
        let seconds = |text: &str| text.parse::<Span>().map(|span| span.seconds).ok();
        assert_eq!(seconds("60s"), Some(60));
        assert_eq!(seconds("10m"), Some(600));
        assert_eq!(seconds("2h"), Some(7200));
        assert_eq!(seconds("7d"), Some(604_800));
        for wrong in ["", "s", "0s", "10", "-1s", "1.5h", "367d", "99999999999999999999d", "1€"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
