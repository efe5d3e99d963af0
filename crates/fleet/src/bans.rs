//! The bans that hosts share by their portal. A host says which [it made](MadeBan) and whom it [protects](Protected); it hears, in
//! [`SharedBans`], which bans of others it is to have. Each side takes of what it hears only what can be true of the other.

use std::net::{IpAddr, Ipv6Addr};

use geofilter_core::book::target::check_global;
use geofilter_core::decide::is_global;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Bans that a host says at a time at most.
pub const MADE: usize = 32;
/// Prefixes that a host protects from the bans of others at most.
pub const PROTECTED: usize = 500;
/// The widest of them. What is wider its own check spares alone.
pub const WIDEST_PROTECTED_V4: u8 = 16;
/// See [`WIDEST_PROTECTED_V4`].
pub const WIDEST_PROTECTED_V6: u8 = 32;
/// How much space they are together: IPv4 addresses, and /64s of IPv6.
const SPACE_V4: u128 = 1 << 18;
const SPACE_V6: u128 = 1 << 34;

/// Bans that are shared at a time at most.
pub const SHARED: usize = 4096;
/// Those that are told in a line.
pub const SHARED_AT_A_TIME: usize = 256;
/// Seconds that a ban is shared for at most if it is proven, and if it is not.
pub const LONGEST_PROVEN: u64 = 86_400;
/// See [`LONGEST_PROVEN`].
pub const LONGEST_COUNTED: u64 = 3_600;

/// Letters of why there is a ban, each of which is a byte: the lines of others depend on it.
const WHY: usize = 64;

/// A ban that a host made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeBan {
    /// Whom it is for: [single](is_single).
    pub target: IpNet,
    /// When it ends, in seconds since 1970.
    pub until: u64,
    /// Nobody forged it: what was done took an answer of whoever did it.
    pub proven: bool,
    /// By what: a jail, or a person.
    pub why: String,
}

/// Whom a host protects: no ban of these is shared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Protected {
    /// They, the narrowest first.
    pub prefixes: Vec<IpNet>,
    /// How many there are besides, which are more, or wider, than one host can keep from all.
    pub left_out: usize,
}

/// What a host says of bans.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OfBans {
    /// Those that it made, at most [`MADE`].
    #[serde(default)]
    pub made: Vec<MadeBan>,
    /// Whom it protects, if that is another thing than before.
    #[serde(default)]
    pub protects: Option<Protected>,
}

/// A ban that hosts share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedBan {
    /// As in [`MadeBan`].
    pub target: IpNet,
    /// See there.
    pub until: u64,
    /// See there.
    pub proven: bool,
    /// How many hosts made it.
    pub hosts: u32,
    /// As in [`MadeBan`].
    pub why: String,
}

/// What a host hears of bans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedBans {
    /// What they are.
    pub part: Part,
    /// Bans that are new, or that end at another time.
    pub put: Vec<SharedBan>,
    /// Bans that are no more, although they have not ended.
    pub withdrawn: Vec<IpNet>,
}

/// What of all shared bans a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What has changed.
    Change,
    /// All there are, or as many of them as fit: those after it are more of them.
    First,
    /// More of them.
    Next,
    /// The last of them: what was not among them is no more.
    Last,
    /// The first and the last of them.
    Whole,
}

impl OfBans {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.made.is_empty() && self.protects.is_none()
    }

    /// What of it is kept, whatever the host may be up to.
    #[must_use]
    pub fn tidy(mut self) -> Self {
        self.made.truncate(MADE);
        self.made.retain(|ban| is_single(ban.target));
        for ban in &mut self.made {
            ban.why = plain(&ban.why);
        }
        self.protects = self.protects.map(|Protected { prefixes, left_out }| {
            let kept = Protected::of(prefixes);
            Protected { left_out: kept.left_out.saturating_add(left_out.min(1 << 20)), ..kept }
        });
        self
    }
}

impl Protected {
    /// As many of these as one host can keep from all, the narrowest first. Private space needs none of it.
    #[must_use]
    pub fn of(prefixes: impl IntoIterator<Item = IpNet>) -> Self {
        let (narrow, wide): (Vec<_>, Vec<_>) =
            prefixes.into_iter().partition(|prefix| prefix.prefix_len() >= widest(*prefix));
        let global = narrow.into_iter().filter(|prefix| check_global(*prefix).is_ok());
        let together = Prefixes::of(global).0.into_iter();
        let mut all: Vec<IpNet> = together.flat_map(no_wider).collect();
        all.sort_by_key(|prefix| (prefix.max_prefix_len() - prefix.prefix_len(), *prefix));
        let (mut v4, mut v6, found) = (SPACE_V4, SPACE_V6, all.len() + wide.len());
        all.retain(|prefix| {
            let left = match prefix {
                IpNet::V4(_) => &mut v4,
                IpNet::V6(_) => &mut v6,
            };
            let fits = space(*prefix) <= *left;
            if fits {
                *left -= space(*prefix);
            }
            fits
        });
        all.truncate(PROTECTED);
        Self { left_out: found - all.len(), prefixes: all }
    }
}

fn widest(prefix: IpNet) -> u8 {
    match prefix {
        IpNet::V4(_) => WIDEST_PROTECTED_V4,
        IpNet::V6(_) => WIDEST_PROTECTED_V6,
    }
}

/// It, in parts that are as wide as may be.
fn no_wider(prefix: IpNet) -> Vec<IpNet> {
    let length = prefix.prefix_len().max(widest(prefix));
    prefix.subnets(length).map_or_else(|_| vec![prefix], Iterator::collect)
}

/// How much space a prefix is.
fn space(prefix: IpNet) -> u128 {
    match prefix {
        IpNet::V4(v4) => 1 << (32 - v4.prefix_len()),
        IpNet::V6(v6) => 1 << 64_u8.saturating_sub(v6.prefix_len()),
    }
}

impl SharedBan {
    /// What of it is believed, whatever the portal may be up to, at this second; none if it can't be.
    #[must_use]
    pub fn tidy(mut self, now: u64) -> Option<Self> {
        self.until = self.until.min(now.saturating_add(LONGEST_PROVEN));
        self.why = plain(&self.why);
        (is_single(self.target) && self.until > now).then_some(self)
    }
}

/// So many letters of a reason, which are no other than those of names.
fn plain(why: &str) -> String {
    let plain = why.chars().filter(|it| it.is_ascii_graphic() || *it == ' ');
    plain.take(WHY).collect()
}

/// Whether a ban of this is one of a single source: an IPv4 address, an IPv6 address or the /64 that a customer has.
#[must_use]
pub fn is_single(target: IpNet) -> bool {
    let is_narrow = match target {
        IpNet::V4(v4) => v4.prefix_len() == 32,
        IpNet::V6(v6) => [64, 128].contains(&v6.prefix_len()),
    };
    is_narrow
        && target == target.trunc()
        && is_global(target.addr())
        && check_global(target).is_ok()
}

/// Prefixes of which one may be asked for. None overlaps another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prefixes(Vec<IpNet>);

impl Prefixes {
    /// These.
    #[must_use]
    pub fn of(prefixes: impl IntoIterator<Item = IpNet>) -> Self {
        let mut all = IpNet::aggregate(&prefixes.into_iter().collect());
        all.sort_by_key(IpNet::network);
        Self(all)
    }

    /// Whether one of them has an address in common with this.
    #[must_use]
    pub fn overlap(&self, prefix: IpNet) -> bool {
        let after = self.0.partition_point(|one| one.network() <= prefix.broadcast());
        self.0[..after].last().is_some_and(|one| one.broadcast() >= prefix.network())
    }
}

/// An address by which prefixes are in order, as bytes that compare as addresses do.
#[must_use]
pub fn ordered(address: IpAddr) -> Vec<u8> {
    let (family, bits) = match address {
        IpAddr::V4(v4) => (4, v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => (6, v6),
    };
    [&[family][..], &Ipv6Addr::octets(&bits)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn made(target: &str) -> MadeBan {
        MadeBan { target: net(target), until: 1, proven: true, why: "asterisk".to_owned() }
    }

    #[test]
    fn a_ban_that_is_shared_is_of_one_source_of_the_internet() {
        for single in ["198.51.100.7/32", "2a00:1:2:3::/64", "2a00:1:2:3::4/128"] {
            assert!(is_single(net(single)), "{single}");
        }
        for other in [
            "198.51.100.0/24",
            "0.0.0.0/0",
            "10.1.2.3/32",
            "127.0.0.1/32",
            "169.254.1.1/32",
            "224.0.0.1/32",
            "2a00:1:2:3::4/64",
            "2a00:1:2::/48",
            "fd00::1/128",
            "fe80::1/128",
            "::ffff:198.51.100.7/128",
            "::1/128",
        ] {
            assert!(!is_single(net(other)), "{other}");
        }
    }

    #[test]
    fn of_what_a_host_says_of_bans_no_more_is_kept_than_it_has_to_say() {
        let many = (0..=255).map(|last| made(&format!("198.51.100.{last}/32")));
        let said = OfBans { made: many.collect(), protects: None }.tidy();
        assert_eq!(said.made.len(), MADE);
        let odd = MadeBan { why: format!("a\u{0}\n{}", "x".repeat(1000)), ..made("192.0.2.1/32") };
        let said = OfBans { made: vec![made("192.0.2.0/24"), odd], protects: None }.tidy();
        assert_eq!(said.made.len(), 1);
        assert_eq!(said.made[0].why, format!("a{}", "x".repeat(63)));
    }

    #[test]
    fn nobody_protects_the_world() {
        let wide = ["0.0.0.0/0", "::/0", "64.0.0.0/8", "2a00::/16", "10.0.0.0/8"];
        let own = ["192.0.2.1/32", "198.51.0.0/16", "2a00:1::/32"];
        let said = Protected::of(wide.iter().chain(&own).copied().map(net));
        assert_eq!(said.prefixes, own.map(net), "what is narrow enough is kept beside what is not");
        assert_eq!(said.left_out, wide.len());
        let said = Protected::of((0..=255).map(|second| net(&format!("64.{second}.0.0/16"))));
        assert_eq!((said.prefixes.len(), said.left_out), (4, 252));
        let halves = (0..=255).map(|second| net(&format!("64.{second}.0.0/17")));
        let said = Protected::of(halves);
        assert_eq!((said.prefixes.len(), said.left_out), (8, 248));
        let singles = (0..2000_u32).map(|at| net(&format!("64.1.{}.{}/32", at / 64, at % 64 * 2)));
        assert_eq!(Protected::of(singles).prefixes.len(), PROTECTED);
    }

    #[test]
    fn an_overlap_is_found_whichever_is_wider() {
        let all = Prefixes::of(["192.0.2.0/24", "192.0.2.7/32", "2a00:1:2:3::4/128"].map(net));
        for yes in ["192.0.2.0/32", "192.0.2.255/32", "192.0.0.0/16", "2a00:1:2:3::/64"] {
            assert!(all.overlap(net(yes)), "{yes}");
        }
        for no in ["192.0.3.0/32", "192.0.1.255/32", "2a00:1:2:4::/64", "2a00:1:2:3::5/128"] {
            assert!(!all.overlap(net(no)), "{no}");
        }
        assert!(!Prefixes::default().overlap(net("0.0.0.0/0")));
    }

    #[test]
    fn bytes_are_in_the_order_of_addresses() {
        let texts = ["0.0.0.0", "9.0.0.0", "10.0.0.0", "255.0.0.1", "::1", "2a00::", "2a00::1"];
        let bytes = texts.map(|text| ordered(text.parse().unwrap()));
        assert!(bytes.is_sorted());
    }

    #[test]
    fn a_portal_is_not_believed_that_a_ban_lasts_for_ever() {
        let shared = |target: &str, until| SharedBan {
            target: net(target),
            until,
            proven: true,
            hosts: 1,
            why: String::new(),
        };
        let long = shared("192.0.2.1/32", u64::MAX).tidy(1_000).unwrap();
        assert_eq!(long.until, 1_000 + LONGEST_PROVEN);
        assert_eq!(shared("192.0.2.1/32", 1_000).tidy(1_000), None);
        assert_eq!(shared("0.0.0.0/0", 2_000).tidy(1_000), None);
    }
}
