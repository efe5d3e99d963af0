//! [`Surroundings`]: what else on a host has a say about packets. [`nft`] reads the rulesets of others.

use serde::Serialize;
use serde_json::Value;

use crate::pbx::{MOST, printable};
use crate::policy::{Scope, Transport};

/// From how many elements on a set is worth a word: such as a list of countries.
const LARGE: usize = 1000;
/// The table that would be GeoFilter's own.
const OURS: &str = "geofilter";

/// What else has a say about packets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Surroundings {
    /// fail2ban, if it runs.
    pub fail2ban: Option<Fail2ban>,
    /// Whether CrowdSec runs.
    pub crowdsec: bool,
    /// Rulesets of others.
    pub firewalls: Vec<Firewall>,
    /// BPF programs of others on interfaces.
    pub programs: Vec<Program>,
    /// What sends SIP on to elsewhere.
    pub forwards: Vec<Forward>,
}

/// A fail2ban that runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Fail2ban {
    /// Its jails, if it could be asked.
    pub jails: Option<Vec<String>>,
}

/// A ruleset of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Firewall {
    /// Its name, such as `nftables inet filter`.
    pub name: String,
    /// Whose it is, if that is known.
    pub owner: Option<&'static str>,
    /// Its large sets.
    pub large_sets: Vec<LargeSet>,
}

/// A set with many elements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LargeSet {
    /// Its name.
    pub name: String,
    /// How many.
    pub elements: usize,
}

/// A BPF program of somebody else on an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Program {
    /// The interface.
    pub interface: String,
    /// Where on it: `xdp`, `tc ingress`, `tc egress`.
    pub hook: &'static str,
    /// What it calls itself.
    pub name: String,
}

/// Something that sends SIP on to elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// What does it.
    pub by: String,
    /// What it sends, and where to, as far as that is known.
    pub what: String,
}

/// What `nft -j list ruleset` tells: the tables of others, and what they forward.
///
/// # Errors
/// If it is no such JSON.
pub fn nft(json: &[u8]) -> Result<(Vec<Firewall>, Vec<Forward>), serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Ruleset {
        nftables: Vec<Value>,
    }
    let ruleset: Ruleset = serde_json::from_slice(json)?;
    let objects = |kind: &'static str| {
        let all = ruleset.nftables.iter().filter_map(move |object| object.get(kind));
        all.filter(|object| !["table", "name"].iter().any(|field| is_ours(word(object, field))))
            .take(MOST)
    };
    let firewalls = objects("table").map(|table| {
        let inside = |object: &&Value| {
            object["table"] == table["name"] && object["family"] == table["family"]
        };
        let mut sets: Vec<LargeSet> = objects("set").filter(inside).filter_map(large_set).collect();
        sets.sort_by(|a, b| a.name.cmp(&b.name));
        let chains: Vec<&str> =
            objects("chain").filter(inside).map(|it| word(it, "name")).collect();
        Firewall {
            name: printable(&format!("nftables {} {}", word(table, "family"), word(table, "name"))),
            owner: owner(word(table, "name"), &chains),
            large_sets: sets,
        }
    });
    let forwards = objects("rule").filter_map(forward).collect();
    Ok((firewalls.collect(), forwards))
}

/// An agent that is not the host's own has a number behind its name.
fn is_ours(table: &str) -> bool {
    table.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

fn word<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn large_set(set: &Value) -> Option<LargeSet> {
    let elements = set.get("elem")?.as_array()?.len();
    (elements >= LARGE).then(|| LargeSet { name: printable(word(set, "name")), elements })
}

/// Whose a table is, by its name or those of its chains.
fn owner(table: &str, chains: &[&str]) -> Option<&'static str> {
    let starts = |start: &str| chains.iter().any(|chain| chain.starts_with(start));
    match table {
        "f2b-table" => Some("fail2ban"),
        "firewalld" => Some("firewalld"),
        "crowdsec" | "crowdsec6" => Some("CrowdSec"),
        _ if starts("ufw") => Some("ufw"),
        _ if starts("f2b-") => Some("fail2ban"),
        _ if starts("DOCKER") => Some("Docker"),
        _ if starts("CROWDSEC") => Some("CrowdSec"),
        _ => None,
    }
}

/// A rule that redirects a port known for SIP.
fn forward(rule: &Value) -> Option<Forward> {
    let expressions = rule.get("expr")?.as_array()?;
    let redirects = |expression: &Value| {
        let target = expression.get("xt").map(|xt| word(xt, "name")).unwrap_or_default();
        expression.get("dnat").is_some()
            || expression.get("redirect").is_some()
            || matches!(target, "DNAT" | "REDIRECT")
    };
    expressions.iter().any(redirects).then_some(())?;
    let (protocol, port) = expressions.iter().find_map(sip_port)?;
    let table = format!("nftables {} {}", word(rule, "family"), word(rule, "table"));
    Some(Forward { by: printable(&table), what: format!("{protocol}/{port}") })
}

/// The first port known for SIP that a match names, alone, in a set, or in a range.
fn sip_port(expression: &Value) -> Option<(&'static str, u64)> {
    let matched = expression.get("match")?;
    let payload = matched.get("left")?.get("payload")?;
    (word(payload, "field") == "dport").then_some(())?;
    let (protocols, name): (&[Transport], _) = match word(payload, "protocol") {
        "udp" => (&[Transport::Udp], "udp"),
        "tcp" => (&[Transport::Tcp], "tcp"),
        _ => (&[Transport::Udp, Transport::Tcp], "udp"),
    };
    let known = Scope::default();
    let sip = known.0.iter().filter(|ports| protocols.contains(&ports.transport));
    let mut sip = sip.flat_map(|ports| u64::from(ports.first)..=u64::from(ports.last));
    let right = matched.get("right")?;
    sip.find(|port| holds(right, *port)).map(|port| (name, port))
}

/// Whether a port is a number, or in a range or a set of such.
fn holds(value: &Value, port: u64) -> bool {
    let bounds = |range: &Value| Some((range.get(0)?.as_u64()?, range.get(1)?.as_u64()?));
    let within =
        |range: &Value| bounds(range).is_some_and(|(first, last)| (first..=last).contains(&port));
    let one =
        |value: &Value| value.as_u64() == Some(port) || value.get("range").is_some_and(within);
    let set = value.get("set").and_then(Value::as_array);
    one(value) || set.is_some_and(|set| set.iter().take(MOST).any(one))
}

/// What Docker's proxy forwards, by the words it was started with.
pub fn docker_proxy(words: &[String]) -> Option<Forward> {
    let after = |name: &str| {
        let place = words.iter().position(|word| word == name)?;
        words.get(place + 1).map(String::as_str)
    };
    let (protocol, port) = (after("-proto")?, after("-host-port")?.parse::<u16>().ok()?);
    let transport = match protocol {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        _ => return None,
    };
    Scope::default().contains(transport, port).then_some(())?;
    let to = printable(after("-container-ip").unwrap_or("a container"));
    Some(Forward { by: "Docker".to_owned(), what: format!("{protocol}/{port} to {to}") })
}

/// The jails that `fail2ban-client status` lists.
pub fn jails(status: &str) -> Option<Vec<String>> {
    let (_, list) = status.lines().find_map(|line| line.split_once("Jail list:"))?;
    let jails = list.split(',').map(printable).filter(|jail| !jail.is_empty());
    Some(jails.take(MOST).collect())
}

/// The addresses in what `fail2ban-client banned` prints.
pub fn banned(listing: &str) -> Vec<std::net::IpAddr> {
    listing.split('\'').filter_map(|word| word.parse().ok()).take(MOST).collect()
}
