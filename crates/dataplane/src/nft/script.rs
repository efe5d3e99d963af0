//! What is written to nftables. A packet that arrives meets `arriving`, which sends it to the chain of a bank; that
//! chain picks what is in scope and hands it to one that judges, in the order of docs/security.md. `leaving` learns the peers.
//!
//! Nothing that is in use is ever changed, but for which bank `arriving` names: a change makes chains and sets
//! anew, and what is not named any more goes in a transaction of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use geofilter_core::decide::LocalSources;
use geofilter_core::desired::{Action, BootTime, Generation};
use geofilter_core::dropped::Dropped;
use geofilter_core::overrides::{AddressKey, Span, Spans, Table};
use geofilter_core::policy::{Ports, Scope, Transport};
use geofilter_core::steps::{Address, Range};
use geofilter_core::tracker::{LIFETIME, MAX_PEERS};

use super::elements::Elements;

/// The upper half of an IPv6 address, which is what a customer gets.
const CUSTOMER: &str = "ip6 saddr & ffff:ffff:ffff:ffff::";
const PRIVATE_V4: &str = "{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 }";
/// SIP requests that may be the first between two parties, by their first four letters: INVITE, MESSAGE, OPTIONS,
/// PUBLISH, SUBSCRIBE.
const OPENING: &str = "{ 0x494e5649, 0x4d455353, 0x4f505449, 0x5055424c, 0x53554253 }";
/// REGISTER.
const REGISTER: &str = "0x5245474953544552";
/// What packets are of, as `meta nfproto` says it: NFPROTO_IPV4 and NFPROTO_IPV6 (linux/netfilter.h).
pub(super) const FAMILIES: [u8; 2] = [2, 10];
/// Every request, by its first letter.
const REQUEST: &str = "0x41-0x5a";
/// The answers begin with `SIP/`.
const ANSWER: &str = "0x5349502f";
/// Elements of one line: even a container's socket takes as much at once, and they make one message to the kernel. The more lines, the
/// longer a container takes.
const CHUNK: usize = 500;
/// Who came first is remembered so long after his last packet, and so many of them.
const CAME: &str = "flags dynamic, timeout; timeout 1d; size 131072;";
/// Packets a second that are logged for the figures, of those that pass and of those that don't; and drops for the log.
const SAMPLES: &str = "rate 500/second burst 100 packets";
/// Drops of one source that are logged for the log.
const TURN: &str = "limit rate 4/second burst 4 packets";
/// The sources whose drops are logged are remembered so long, and so many of them.
const TURNS: &str = "flags dynamic, timeout; timeout 10s; size 65536;";
/// The IP header.
const HEADER: u32 = 40;
/// That, a transport header, and 512 bytes of what it carries.
const EXCERPT: u32 = 40 + 60 + 512;
/// What a logged packet is for, before the name of its counter: the figures, or the log.
pub(super) const COUNTED: &str = "counted";
pub(super) const TOLD: &str = "told";
/// More than this is for ever: a hundred years, in seconds.
const FOREVER: u64 = 100 * 365 * 86_400;

/// A policy as chains and sets, by the number that is in their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bank {
    pub(super) serial: u64,
    pub(super) generation: Generation,
    pub(super) action: Action,
    pub(super) scope: Scope,
    /// What it drops: the number of the sets, and until which second since 1970, for ever at last.
    pub(super) drops: Vec<(Option<u64>, u64)>,
}

impl Bank {
    /// The chain that a packet is sent to. Its name says what it is to whoever finds it.
    pub(super) fn chain(&self) -> String {
        format!("bank_{}_{}_{}", self.serial, self.generation.0, self.action)
    }

    /// What its name tells.
    pub(super) fn tells(&self) -> (u64, Generation, Action) {
        (self.serial, self.generation, self.action)
    }

    /// The serial, generation and action that a chain's name tells.
    pub(super) fn read(chain: &str) -> Option<(u64, Generation, Action)> {
        let mut parts = chain.strip_prefix("bank_")?.split('_');
        let (serial, generation) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let action = [Action::Pass, Action::Observe, Action::Enforce];
        let named = parts.next()?;
        let action = action.into_iter().find(|action| action.to_string() == named)?;
        Some((serial, Generation(generation), action))
    }

    /// Everything that is its own.
    pub(super) fn chains(&self) -> Vec<String> {
        let judges = (0..self.drops.len()).map(|at| self.judge(at));
        [self.chain(), self.learn()].into_iter().chain(judges).collect()
    }

    fn judge(&self, at: usize) -> String {
        format!("judge_{}_{at}", self.serial)
    }

    /// The chain that learns while it is in force.
    fn learn(&self) -> String {
        format!("learn_{}", self.serial)
    }

    /// The set whose elements end at the deadline, while it is on trial. Its name says when that is.
    pub(super) fn trial(&self, deadline: BootTime) -> String {
        format!("trial_{}_{}", self.serial, deadline.0)
    }

    /// The numbers of its sets.
    pub(super) fn sets(&self) -> impl Iterator<Item = u64> {
        self.drops.iter().map(|(_, sets)| *sets)
    }
}

/// The sets of what a policy drops.
pub(super) fn drop_sets(number: u64) -> [String; 2] {
    [format!("drop4_{number}"), format!("drop6_{number}")]
}

/// A script: one transaction.
pub(super) struct Script<'a> {
    table: &'a str,
    text: String,
}

/// What an interface that is protected has to do with private space.
pub(super) type Local = BTreeMap<String, LocalSources>;

impl<'a> Script<'a> {
    pub(super) fn new(table: &'a str) -> Self {
        Self { table, text: String::new() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The same as several scripts, each of a few lines.
    pub(super) fn pieces(&self) -> Vec<String> {
        const PIECE: usize = 48 * 1024;
        let mut pieces = vec![String::new()];
        for line in self.text.split_inclusive('\n') {
            match pieces.last_mut() {
                Some(piece) if piece.is_empty() || piece.len() + line.len() <= PIECE => {
                    piece.push_str(line);
                }
                _ => pieces.push(line.to_owned()),
            }
        }
        pieces
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Names of what is in the table come after the command.
    fn with(&mut self, command: &str, rest: &str) {
        let table = self.table;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{command} inet {table} {rest}");
    }

    fn rule(&mut self, chain: &str, rule: &str) {
        self.with("add rule", &format!("{chain} {rule}"));
    }

    /// The table and what stays in it whatever the policy. Packets are logged to this group, if there is one.
    pub(super) fn frame(&mut self, group: Option<u16>) {
        let table = self.table;
        self.line(&format!("add table inet {table}"));
        for set in ["protected", "private4", "private6"] {
            self.with("add set", &format!("{set} {{ type ifname; }}"));
        }
        for kind in ["exempt", "ban"] {
            for (family, of) in [("4", "ipv4_addr"), ("6", "ipv6_addr")] {
                self.with("add set", &format!("{kind}{family} {{ type {of}; flags timeout; }}"));
                let ranges =
                    format!("{kind}_ranges{family} {{ type {of}; flags interval, timeout; }}");
                self.with("add set", &ranges);
            }
        }
        let lifetime = LIFETIME / 1_000_000_000;
        for (family, of) in [("4", "ipv4_addr"), ("6", "ipv6_addr")] {
            let learnt = format!("flags dynamic, timeout; timeout {lifetime}s; size {MAX_PEERS};");
            self.with(
                "add set",
                &format!("peers{family} {{ type {of} . inet_service; {learnt} }}"),
            );
            self.with("add set", &format!("came{family} {{ type {of}; {CAME} }}"));
            self.with("add set", &format!("contacts{family} {{ type {of}; }}"));
        }
        for limit in ["of_passed", "of_dropped", "of_told"] {
            self.with("add limit", &format!("{limit} {{ {SAMPLES}; }}"));
        }
        for (family, of) in [("4", "ipv4_addr"), ("6", "ipv6_addr")] {
            self.with("add set", &format!("turns{family} {{ type {of}; {TURNS} }}"));
        }
        // Whoever passes before the PBX asked anything of it came first.
        self.with("add chain", "came");
        self.with("flush chain", "came");
        self.rule("came", "update @came4 { ip saddr } accept");
        self.rule("came", &format!("update @came6 {{ {CUSTOMER} }} accept"));
        COUNTERS.iter().for_each(|counter| self.counter(counter, group));
        self.with(
            "add chain",
            "arriving { type filter hook prerouting priority raw; policy accept; }",
        );
        // Before the source is translated: what is learnt is whom a protected port sent to.
        self.with(
            "add chain",
            "leaving { type filter hook postrouting priority 90; policy accept; }",
        );
    }

    /// The chain that counts what comes to this, has it logged, and ends it.
    fn counter(&mut self, name: &str, group: Option<u16>) {
        self.with("add counter", name);
        self.with("add chain", name);
        self.with("flush chain", name);
        self.rule(name, &format!("counter name {name}"));
        let (passes, is_local) = (name.starts_with("pass_"), name == "pass_local");
        if let Some(group) = group.filter(|_| !is_local) {
            let log = |purpose: &str, bytes: u32| {
                format!("log group {group} snaplen {bytes} prefix \"{purpose} {name}\"")
            };
            let of = if passes { "of_passed" } else { "of_dropped" };
            self.rule(name, &format!("limit name {of} {}", log(COUNTED, HEADER)));
            if !passes {
                let tell = format!("limit name of_told {}", log(TOLD, EXCERPT));
                self.rule(name, &format!("update @turns4 {{ ip saddr {TURN} }} {tell}"));
                self.rule(name, &format!("update @turns6 {{ {CUSTOMER} {TURN} }} {tell}"));
            }
        }
        self.rule(
            name,
            match name {
                // Forged sources come first to nobody.
                "pass_local" | "pass_peer" | "would_drop_martian" => "accept",
                _ if name.starts_with("drop_") => "drop",
                _ => "goto came",
            },
        );
    }

    /// The interfaces that are protected, and what is local there.
    pub(super) fn interfaces(&mut self, local: &Local) {
        let names = |of: fn(&LocalSources) -> bool| {
            let names = local.iter().filter(|(_, local)| of(local));
            names.map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>()
        };
        self.fill("protected", &names(|_| true));
        self.fill("private4", &names(|local| local.private_v4));
        self.fill("private6", &names(|local| local.private_v6));
    }

    /// Replaces the elements of a set.
    fn fill(&mut self, set: &str, elements: &[String]) {
        self.with("flush set", set);
        self.elements(set, elements);
    }

    fn elements(&mut self, set: &str, elements: &[String]) {
        for (number, chunk) in elements.chunks(CHUNK).enumerate() {
            // What follows itself nft (1.1) makes one command of, cut into messages anywhere, and Linux 6.18.15 then takes
            // ranges for others that are there (6.18.44 does not). Something that changes nothing keeps them apart.
            if number > 0 {
                self.line(&format!("add table inet {}", self.table));
            }
            self.with("add element", &format!("{set} {{ {} }}", chunk.join(", ")));
        }
    }

    /// Replaces exemptions and bans.
    pub(super) fn overrides(&mut self, table: &Table, now: BootTime) {
        let (v4, v6) = table.prefixes.steps();
        for (kind, span) in [("exempt", exempt as fn(&Spans) -> Span), ("ban", ban)] {
            let of = |wants_v4: bool| {
                let single = table.addresses.iter().filter(|(key, _)| is_v4(key) == wants_v4);
                let single = single.map(|(key, spans)| element(&key_text(*key), span(spans), now));
                single.flatten().collect::<Vec<_>>()
            };
            self.fill(&format!("{kind}4"), &of(true));
            self.fill(&format!("{kind}6"), &of(false));
            let spans = |id: u16| span(&table.prefixes.entries[usize::from(id)]);
            let v4 = v4.map(spans);
            let v4 = v4.ranges().filter_map(|(range, span)| element(&v4_text(range), span, now));
            self.fill(&format!("{kind}_ranges4"), &v4.collect::<Vec<_>>());
            let v6 = v6.map(spans);
            let v6 = v6.ranges().filter_map(|(range, span)| element(&v6_text(range), span, now));
            self.fill(&format!("{kind}_ranges6"), &v6.collect::<Vec<_>>());
        }
    }

    /// Who is registered at the PBX.
    pub(super) fn contacts<'k>(&mut self, contacts: impl Iterator<Item = &'k AddressKey> + Clone) {
        let of = |wants_v4: bool| {
            let of = contacts.clone().filter(|key| is_v4(key) == wants_v4);
            of.map(|key| key_text(*key)).collect::<Vec<_>>()
        };
        self.fill("contacts4", &of(true));
        self.fill("contacts6", &of(false));
    }

    /// Makes a peer, or changes when it ends.
    pub(super) fn peer(&mut self, peer: std::net::SocketAddr, until: Option<Duration>) {
        let set = if peer.is_ipv4() { "peers4" } else { "peers6" };
        let element = format!("{} . {}", peer.ip(), peer.port());
        self.with("add element", &format!("{set} {{ {element} }}"));
        self.with("delete element", &format!("{set} {{ {element} }}"));
        if let Some(left) = until.filter(|left| !left.is_zero()) {
            self.with("add element", &format!("{set} {{ {element} {} }}", timeout(left)));
        }
    }

    /// The sets of what a policy drops, without it: see [`drops`].
    pub(super) fn dropped(&mut self, number: u64) {
        let [v4, v6] = drop_sets(number);
        // As raw bytes of the header, so that the address inside of a tunnel can be looked up too.
        self.with("add set", &format!("{v4} {{ typeof @nh,96,32; flags interval; }}"));
        self.with("add set", &format!("{v6} {{ type ipv6_addr; flags interval; }}"));
    }

    /// The chains of a bank.
    pub(super) fn bank(&mut self, bank: &Bank) {
        let entrance = bank.chain();
        for chain in bank.chains().iter().rev() {
            self.with("add chain", chain);
        }
        for (_, ports) in ports(&bank.scope).filter(|(transport, _)| *transport == "udp") {
            self.learn(&bank.learn(), &ports);
        }
        // Without the first fragment they are useless.
        self.rule(&entrance, "ip frag-off & 0x1fff != 0 accept");
        self.rule(&entrance, "frag frag-off != 0 accept");
        for (at, (until, sets)) in bank.drops.iter().enumerate() {
            let judge = bank.judge(at);
            self.judge(bank.action, *sets, &judge);
            let while_it_is =
                until.map(|until| format!("meta time < {until} ")).unwrap_or_default();
            for (transport, ports) in ports(&bank.scope) {
                let rule = format!("{while_it_is}{transport} dport {ports} goto {judge}");
                self.rule(&entrance, &rule);
            }
        }
    }

    /// Docs/security.md, steps 3 to 7.
    fn judge(&mut self, action: Action, sets: u64, judge: &str) {
        let [v4, v6] = drop_sets(sets);
        let mut rule =
            |condition: &str, then: &str| self.rule(judge, &format!("{condition} {then}"));
        // While everything passes nothing is counted, and who passes has come first all the same.
        let pass = |reason: &str| match action {
            Action::Pass => "accept".to_owned(),
            Action::Observe | Action::Enforce => format!("goto pass_{reason}"),
        };
        let refuse = |reason: &str| match action {
            Action::Pass => "accept".to_owned(),
            Action::Observe => format!("goto would_drop_{reason}"),
            Action::Enforce => format!("goto drop_{reason}"),
        };
        for condition in [
            "ip saddr 169.254.0.0/16",
            "ip6 saddr fe80::/10",
            &format!("iifname @private4 ip saddr {PRIVATE_V4}"),
            "iifname @private6 ip6 saddr fc00::/7",
            "iif lo ip saddr 127.0.0.0/8",
            "iif lo ip6 saddr ::1",
        ] {
            rule(condition, &pass("local"));
        }
        rule("ip saddr { 127.0.0.0/8, 224.0.0.0/4 }", &refuse("martian"));
        rule("ip6 saddr { ::1, ff00::/8 }", &refuse("martian"));
        if action != Action::Pass {
            self.look_up(judge, "exempt", &pass("exemption"));
        }
        let mut rule =
            |condition: &str, then: &str| self.rule(judge, &format!("{condition} {then}"));
        rule("meta l4proto udp ip saddr . udp sport @peers4", &pass("peer"));
        rule("meta l4proto udp ip6 saddr . udp sport @peers6", &pass("peer"));
        if action == Action::Pass {
            return rule("", "goto came");
        }
        self.look_up(judge, "ban", &refuse("ban"));
        let mut rule =
            |condition: &str, then: &str| self.rule(judge, &format!("{condition} {then}"));
        let goes_on = pass("country");
        rule(&format!("meta nfproto ipv4 @nh,96,32 @{v4}"), &refuse("country"));
        // 6to4 and NAT64 have an IPv4 address inside.
        for (tunnel, inside) in [("2002::/16", "@nh,80,32"), ("64:ff9b::/96", "@nh,160,32")] {
            rule(&format!("ip6 saddr {tunnel} {inside} @{v4}"), &refuse("country"));
            rule(&format!("ip6 saddr {tunnel}"), &goes_on);
        }
        rule(&format!("ip6 saddr @{v6}"), &refuse("country"));
        rule("", &goes_on);
    }

    /// Step 4 or 6: what is known of the source.
    fn look_up(&mut self, judge: &str, kind: &str, then: &str) {
        for condition in [
            &format!("ip saddr @{kind}4"),
            &format!("ip saddr @{kind}_ranges4"),
            &format!("{CUSTOMER} == @{kind}6"),
            &format!("ip6 saddr @{kind}_ranges6"),
        ] {
            self.rule(judge, &format!("{condition} {then}"));
        }
    }

    /// The set of what is on trial: it has elements until the deadline.
    pub(super) fn trial(&mut self, set: &str) {
        self.with("add set", &format!("{set} {{ typeof meta nfproto; flags timeout; }}"));
    }

    /// Says which bank judges, from the next packet on; where there is a deadline, which one from then on, if nobody
    /// is there either: the kernel forgets the elements of `trial` by itself.
    pub(super) fn switch(&mut self, active: &Bank, after: Option<(&Bank, BootTime)>) {
        let ways = [("arriving", Bank::chain as fn(&Bank) -> String), ("leaving", Bank::learn)];
        for (chain, to) in ways {
            self.with("flush chain", chain);
            if chain == "arriving" {
                self.rule(chain, "iifname != @protected accept");
            }
            match after {
                None => self.rule(chain, &format!("goto {}", to(active))),
                Some((fallback, deadline)) => {
                    let trial = active.trial(deadline);
                    self.rule(chain, &format!("meta nfproto @{trial} goto {}", to(active)));
                    self.rule(chain, &format!("goto {}", to(fallback)));
                }
            }
        }
    }

    /// Step 5: a request from a protected port makes a peer of where it goes, or keeps it.
    fn learn(&mut self, chain: &str, ports: &str) {
        let mut rule = |rule: &str| self.rule(chain, rule);
        rule(&format!("udp sport != {ports} accept"));
        // No request is shorter than 16 bytes. What is read below is there, or a rule would be passed over.
        rule("udp length < 24 accept");
        rule(&format!("@th,64,8 != {REQUEST} accept"));
        rule(&format!("@th,64,32 {ANSWER} accept"));
        rule(&format!("ip daddr {PRIVATE_V4} accept"));
        rule("ip daddr { 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4 } accept");
        rule("ip6 daddr { ::1, fc00::/7, fe80::/10, ff00::/8 } accept");
        let target = [
            ("4", "ip daddr", "ip daddr"),
            ("6", "ip6 daddr", "ip6 daddr & ffff:ffff:ffff:ffff:: =="),
        ];
        for (family, address, _) in target {
            let keep = format!("update @peers{family} {{ {address} . udp dport }} accept");
            rule(&format!("{address} . udp dport @peers{family} {keep}"));
            rule(&format!("@th,64,64 {REGISTER} {keep}"));
        }
        rule(&format!("@th,64,32 != {OPENING} accept"));
        for (family, address, customer) in target {
            rule(&format!("{customer} @came{family} accept"));
            rule(&format!("{customer} @contacts{family} accept"));
            rule(&format!("update @peers{family} {{ {address} . udp dport }}"));
        }
    }

    /// Removes what is not named any more.
    pub(super) fn clear(&mut self, chains: &[String], sets: &[String]) {
        // One may lead to another.
        chains.iter().for_each(|chain| self.with("flush chain", chain));
        chains.iter().for_each(|chain| self.with("delete chain", chain));
        sets.iter().for_each(|set| self.with("delete set", set));
    }

    /// Lets everything pass and takes everything away.
    pub(super) fn remove(&mut self) {
        self.line(&format!("delete table inet {}", self.table));
    }
}

/// The deadline that a set's name tells.
pub(super) fn read_trial(set: &str) -> Option<BootTime> {
    let (_, deadline) = set.strip_prefix("trial_")?.split_once('_')?;
    Some(BootTime(deadline.parse().ok()?))
}

/// What is counted, whatever the policy.
pub(super) const COUNTERS: [&str; 10] = [
    "pass_local",
    "pass_exemption",
    "pass_peer",
    "pass_country",
    "drop_martian",
    "drop_ban",
    "drop_country",
    "would_drop_martian",
    "would_drop_ban",
    "would_drop_country",
];

fn exempt(spans: &Spans) -> Span {
    spans.exempt
}

fn ban(spans: &Spans) -> Span {
    spans.ban
}

fn is_v4(key: &AddressKey) -> bool {
    matches!(key, AddressKey::V4(_))
}

/// The address by which a key is looked up.
fn key_text(key: AddressKey) -> String {
    key.prefix().network().to_string()
}

fn v4_text(range: Range<u32>) -> String {
    between(range, |bits| Ipv4Addr::from(bits).to_string())
}

fn v6_text(range: Range<u128>) -> String {
    between(range, |bits| Ipv6Addr::from(bits).to_string())
}

/// Older nft (0.9.8) takes no range of one.
fn between<A: Address>(Range { first, last }: Range<A>, text: impl Fn(A) -> String) -> String {
    match first == last {
        true => text(first),
        false => format!("{}-{}", text(first), text(last)),
    }
}

/// An element that holds as long as this; `None` if it does not any more.
fn element(text: &str, span: Span, now: BootTime) -> Option<String> {
    let end = BootTime(span.nanoseconds());
    match span.holds(now) {
        true if is_for_ever(end, now) => Some(text.to_owned()),
        true => Some(format!("{text} {}", timeout(Duration::from_nanos(end.0 - now.0)))),
        false => None,
    }
}

/// What a policy drops, for its sets.
pub(super) fn drops(elements: &mut Elements<'_>, number: u64, dropped: &Dropped) {
    let [v4, v6] = drop_sets(number);
    elements.add_ranges(&v4, &dropped.v4, u32::to_be_bytes);
    elements.add_ranges(&v6, &dropped.v6, u128::to_be_bytes);
}

/// Changes what is known of one address.
pub(super) fn address(elements: &mut Elements<'_>, key: AddressKey, spans: Spans, now: BootTime) {
    let (bytes, family) = match key.prefix().network() {
        IpAddr::V4(v4) => (Vec::from(v4.octets()), "4"),
        IpAddr::V6(v6) => (Vec::from(v6.octets()), "6"),
    };
    for (kind, span) in [("exempt", spans.exempt), ("ban", spans.ban)] {
        let set = format!("{kind}{family}");
        elements.remove(&set, &bytes);
        if span.holds(now) {
            let end = BootTime(span.nanoseconds());
            elements.add(&set, &bytes, Some(end).filter(|end| !is_for_ever(*end, now)));
        }
    }
}

fn is_for_ever(end: BootTime, now: BootTime) -> bool {
    Duration::from_nanos(end.0.saturating_sub(now.0)).as_secs() > FOREVER
}

/// Nothing ends at once that is to end later. nft takes no large numbers.
fn timeout(left: Duration) -> String {
    let milliseconds = left.as_millis().max(1);
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    format!("timeout {days}d{seconds}s{milliseconds}ms")
}

/// The ports of a scope by transport.
fn ports(scope: &Scope) -> impl Iterator<Item = (&'static str, String)> {
    [("udp", Transport::Udp), ("tcp", Transport::Tcp)].into_iter().filter_map(
        |(name, transport)| {
            let of = scope.0.iter().filter(|ports| ports.transport == transport);
            let mut of: Vec<&Ports> = of.collect();
            of.sort_unstable_by_key(|ports| ports.first);
            // nft takes no element that overlaps another.
            let mut joined: Vec<(u16, u16)> = Vec::new();
            for ports in of {
                match joined.last_mut() {
                    Some((_, last)) if ports.first <= last.saturating_add(1) => {
                        *last = (*last).max(ports.last)
                    }
                    _ => joined.push((ports.first, ports.last)),
                }
            }
            let texts: Vec<String> = joined
                .iter()
                .map(
                    |(first, last)| {
                        if first == last { first.to_string() } else { format!("{first}-{last}") }
                    },
                )
                .collect();
            (!texts.is_empty()).then(|| (name, format!("{{ {} }}", texts.join(", "))))
        },
    )
}
