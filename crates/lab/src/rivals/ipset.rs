//! iptables with ipset: a `hash:net` set of all blocked networks for each family, as the manual page
//! `ipset(8)` describes it, and a rule in the raw table that drops what comes from there, by the `set` match of
//! `iptables-extensions(8)`.
//!
//! The page has `maxelem` raised for more than 65,536 networks, and `hashsize` is what the set begins with: as
//! many as there are networks, so that it need not grow. It also says that a look-up takes longer with each
//! different prefix length in the set. `iptables-restore` is what the distribution means by it: on Debian the
//! one that writes nftables.

use std::net::IpAddr;

use anyhow::Result;
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::lists::{Family, Lists, Span};
use crate::namespace::Namespace;

/// Sets it up in a namespace.
///
/// # Errors
/// If one of its tools is missing or refuses.
pub fn load(host: &Namespace, lists: &Lists) -> Result<()> {
    for family in Family::ALL {
        let networks: Vec<IpNet> = lists.blocked(family).into_iter().flat_map(networks).collect();
        host.feed("ipset", &["restore"], &set(family, &networks))?;
        let restore = match family {
            Family::V4 => "iptables-restore",
            Family::V6 => "ip6tables-restore",
        };
        host.feed(restore, &[], &rules(family))?;
    }
    Ok(())
}

fn set(family: Family, networks: &[IpNet]) -> String {
    let (number, count) = (family.number(), networks.len().max(1));
    let inet = match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    };
    let create =
        format!("create blocked{number} hash:net family {inet} hashsize {count} maxelem {count}\n");
    let add = networks.iter().map(|network| format!("add blocked{number} {network}\n"));
    create + &add.collect::<String>()
}

fn rules(family: Family) -> String {
    let number = family.number();
    format!(
        "*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -m set --match-set blocked{number} src -j DROP
COMMIT
"
    )
}

/// The fewest networks that cover it.
fn networks(span: Span) -> Vec<IpNet> {
    match (span.first, span.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
    }
}
