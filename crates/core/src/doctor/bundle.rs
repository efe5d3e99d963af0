//! [`Bundle`]: what goes into a public bug report. It is built of values that name nobody, and every text
//! of it goes through a [`Redactor`] beside that.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::redact::Redactor;
use super::{Facts, Report};
use crate::country::CountryCode;
use crate::pbx::{How, Pbx};
use crate::surroundings::{Firewall, Program};
use crate::wire::Status;

/// A support file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bundle {
    /// When it was made, in RFC 3339.
    pub made: String,
    /// The version of this program.
    pub geofilter: String,
    /// The release of the kernel.
    pub kernel: String,
    /// What machine it is.
    pub machine: String,
    /// The system on it.
    pub system: Option<String>,
    /// What the examination came to.
    pub doctor: Report,
    /// The state, the policy and the counters; none if no agent answers.
    pub status: Option<Status>,
    /// How many exemptions and bans there are, by what they are for.
    pub overrides: BTreeMap<String, usize>,
    /// The PBXs.
    pub pbx: Vec<PbxSummary>,
    /// The interfaces.
    pub interfaces: Vec<InterfaceSummary>,
    /// The rulesets of others.
    pub firewalls: Vec<Firewall>,
    /// The programs of others on interfaces.
    pub programs: Vec<Program>,
    /// The versions of packages that matter.
    pub packages: BTreeMap<String, String>,
}

/// A PBX without those it talks to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PbxSummary {
    kind: &'static str,
    version: Option<String>,
    product: Option<String>,
    container: bool,
    /// The ports that its sockets are on.
    ports: Vec<String>,
    trunks: BTreeMap<&'static str, usize>,
    devices: usize,
    /// What is written to each of its logs.
    logs: Vec<Vec<String>>,
}

/// An interface without its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceSummary {
    name: String,
    default_route: bool,
    ethernet: bool,
    vlan: bool,
    mtu: u32,
    ipv4_addresses: usize,
    ipv6_addresses: usize,
}

/// What it is that is exempt or banned: the word for a target of this kind.
pub fn kind_of(target: &str) -> &'static str {
    let address = target.split('/').next().unwrap_or_default();
    match target {
        _ if target.starts_with('@') => "provider",
        _ if address.parse::<IpAddr>().is_ok() => "prefix",
        _ if target.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("as"))
            && target[2..].bytes().all(|it| it.is_ascii_digit()) =>
        {
            "as"
        }
        _ => "name",
    }
}

impl PbxSummary {
    /// What of a PBX names nobody.
    pub fn new(pbx: &Pbx) -> Self {
        let port = |socket: &crate::pbx::Socket| {
            let port = socket.address.port();
            crate::policy::Ports { transport: socket.protocol, first: port, last: port }.to_string()
        };
        let mut ports: Vec<String> = pbx.sockets.iter().map(port).collect();
        ports.dedup();
        let mut trunks = BTreeMap::new();
        for trunk in &pbx.trunks {
            let how = match trunk.how {
                How::Registration => "registration",
                How::StaticContact => "static-contact",
                How::Identify => "identify",
            };
            *trunks.entry(how).or_default() += 1;
        }
        Self {
            kind: pbx.kind.name(),
            version: pbx.version.clone(),
            product: pbx.distribution.as_ref().map(|it| it.name.to_owned()),
            container: pbx.container,
            ports,
            trunks,
            devices: pbx.devices.len(),
            logs: pbx.logs.iter().flatten().map(|log| log.levels.clone()).collect(),
        }
    }
}

impl InterfaceSummary {
    /// The interfaces that were seen.
    pub fn all(facts: &Facts) -> Vec<Self> {
        let interfaces = facts.interfaces.iter().flatten();
        interfaces
            .map(|it| Self {
                name: it.name.clone(),
                default_route: it.default_route,
                ethernet: it.ethernet,
                vlan: it.vlan,
                mtu: it.mtu,
                ipv4_addresses: it.addresses.iter().filter(|address| address.is_ipv4()).count(),
                ipv6_addresses: it.addresses.iter().filter(|address| address.is_ipv6()).count(),
            })
            .collect()
    }
}

/// Every name that was found on a host: of extensions, trunks and hosts, and what devices call themselves.
pub fn names(facts: &Facts) -> Vec<String> {
    let mut names = Vec::new();
    for pbx in &facts.detected.pbx {
        for trunk in &pbx.trunks {
            names.push(trunk.name.clone());
            names.extend(trunk.hosts.iter().map(|host| host.name.to_string()));
        }
        for device in &pbx.devices {
            names.push(device.endpoint.clone());
            names.extend(device.user_agent.clone());
        }
    }
    names
}

impl Bundle {
    /// The document, without whom it is about. `names` are those that are known.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub fn redacted(
        &self,
        names: Vec<String>,
        country: &dyn Fn(IpAddr) -> CountryCode,
    ) -> Result<serde_json::Value, serde_json::Error> {
        let document = serde_json::to_value(self)?;
        Ok(Redactor::new(country, names).document(document))
    }
}
