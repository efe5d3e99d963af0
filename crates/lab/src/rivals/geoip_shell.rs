//! geoip-shell with nftables for inbound traffic, as its `Documentation/NOTES.md` (sections 2, 3 and 20) and
//! `Documentation/DETAILS.md` describe it and `lib/geoip-shell-lib-nft.sh` of version 0.8.4 adds it: a table
//! of both families with a set and a rule for each country and family, IPv4 first. The rules stand in a chain
//! that a base chain jumps to, in prerouting at priority -141, where connections are tracked already; what
//! belongs to a connection passes before any country is asked. The sets are optimised for performance, its
//! default on a machine of more than 2 GiB.
//!
//! Of what its user may choose, all ports and both families are the defaults. All interfaces and no further
//! addresses are what costs least: with chosen interfaces each rule first compares the name. It loads the
//! sets one by one; here they come with the rules, which leaves the same ruleset behind.

use geofilter_core::country::{CountryId, CountrySet};

use super::lists::{Family, Lists};
use super::nft::add_set;

const CHAINS: &str = "add table inet geoip-shell
add chain inet geoip-shell GEOIP-SHELL_BASE_IN { type filter hook prerouting priority -141; policy accept; }
add chain inet geoip-shell GEOIP-SHELL_IN
add rule inet geoip-shell GEOIP-SHELL_BASE_IN jump GEOIP-SHELL_IN comment \"geoip-shell_enable\"
";
const PERFORMANCE: &str = "flags interval; auto-merge; policy performance;";
const PRIVATE_V4: [&str; 3] = ["192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8"];
/// The name of a set ends with the date of its addresses.
const EDITION: &str = "2026-10-01";
const ESTABLISHED: &str = "ct state established,related accept comment \"geoip-shell_aux_est-rel\"";

/// Its mode `whitelist`: what the sets of the allowed countries don't accept is dropped, except what comes
/// over the loopback interface, from a link-local address, or from a private one by DHCP.
pub fn allowing(lists: &Lists) -> String {
    let mut script = CHAINS.to_owned();
    script += &add_set("geoip-shell allow_in_4", Family::V4, PERFORMANCE, ["169.254.0.0/16"]);
    script += &add_set("geoip-shell allow_in_6", Family::V6, PERFORMANCE, ["fe80::/10"]);
    script += &add_set("geoip-shell dhcp_4", Family::V4, "flags interval; auto-merge;", PRIVATE_V4);
    script += &add_rules(&[
        "iifname lo accept comment \"geoip-shell_aux_loopback\"",
        ESTABLISHED,
        "ip saddr @allow_in_4 accept comment \"geoip-shell_aux_allow\"",
        "ip6 saddr @allow_in_6 accept comment \"geoip-shell_aux_allow\"",
        "ip saddr @dhcp_4 udp dport { 67, 68 } counter accept comment \"geoip-shell_aux_DHCP_4\"",
        "ip6 saddr fc00::/6 udp dport { 546, 547 } counter accept comment \"geoip-shell_aux_DHCP_6\"",
    ]);
    script += &add_countries(lists, lists.allowed(), "accept");
    script + &add_rules(&["counter drop comment \"geoip-shell_inbound_whitelist_block\""])
}

/// Its mode `blacklist`: the sets of all countries but the allowed ones drop.
pub fn blocking(lists: &Lists) -> String {
    let allowed = lists.allowed();
    let others = CountryId::all().filter(|country| !allowed.contains(*country)).collect();
    CHAINS.to_owned() + &add_rules(&[ESTABLISHED]) + &add_countries(lists, others, "drop")
}

/// A set and a rule for each family of each country that has addresses.
fn add_countries(lists: &Lists, countries: CountrySet, verdict: &str) -> String {
    let [v4, v6] = Family::ALL.map(|family| (family, lists.countries(family)));
    let mut script = String::new();
    for country in countries.iter() {
        for (family, countries) in [&v4, &v6] {
            let Some(spans) = countries.get(&country) else { continue };
            let set = format!("{}_{}_{EDITION}", country.code(), family.number());
            let source = match family {
                Family::V4 => "ip saddr",
                Family::V6 => "ip6 saddr",
            };
            let rule = format!("{source} @{set} counter {verdict} comment \"geoip-shell\"");
            script += &add_set(&format!("geoip-shell {set}"), *family, PERFORMANCE, spans);
            script += &add_rules(&[&rule]);
        }
    }
    script
}

fn add_rules(rules: &[&str]) -> String {
    rules.iter().map(|rule| format!("add rule inet geoip-shell GEOIP-SHELL_IN {rule}\n")).collect()
}
