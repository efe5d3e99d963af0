//! [`Target`]: what an exemption or a ban names.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::host_name::{HostName, InvalidHostName};
use super::provider::{self, Provider};
use super::record::Kind;
use crate::decide::is_private;
use crate::geodata::AsNumber;
use crate::overrides::AddressKey;

/// The widest IPv4 prefix that can be banned.
pub const WIDEST_BAN_V4: u8 = 8;
/// The widest IPv6 prefix that can be banned.
pub const WIDEST_BAN_V6: u8 = 20;

/// What an exemption or a ban names. Prefixes have no bits beyond their length, and one that is an address
/// is an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// An address.
    Address(IpAddr),
    /// A prefix.
    Prefix(IpNet),
    /// The addresses that a name has.
    Name(HostName),
    /// The space that an autonomous system announces.
    System(AsNumber),
    /// What a provider publishes.
    Provider(&'static Provider),
}

/// A text that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {flaw}")]
pub struct InvalidTarget {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Bits beyond the length of a prefix.
    #[error("has bits beyond its length: write {0}, or the address alone")]
    HostBits(IpNet),
    /// A prefix that can't be read.
    #[error("is not a prefix: write it such as 203.0.113.0/24")]
    NotAPrefix,
    /// Not the number of an autonomous system.
    #[error("is not the number of an autonomous system: write it such as AS64500")]
    NotASystem,
    /// A list that is not known.
    #[error("is not a list of a provider: there are {}", provider::names())]
    NoProvider,
    /// Not a host name.
    #[error(transparent)]
    NotAName(#[from] InvalidHostName),
    /// Sources that pass or are dropped before any exemption or ban is asked.
    #[error("is {0}: such sources never come from the internet, and local ones pass anyway")]
    NotGlobal(&'static str),
    /// IPv6 outside the space that is routed.
    #[error("is outside 2000::/3, where no address of the internet is")]
    OutsideGlobalV6,
    /// IPv4 written as IPv6.
    #[error("is an IPv4 address written as IPv6: write {0}")]
    Mapped(std::net::Ipv4Addr),
    /// Everybody exempt.
    #[error("is everybody: `geofilter observe` drops nothing, `geofilter pause` for a while")]
    Everybody,
    /// A ban that is too wide.
    #[error(
        "is too wide for a ban: /{0} is the widest; `geofilter block` keeps out whole countries"
    )]
    TooWide(u8),
    /// A ban of what can't be banned.
    #[error("can't be banned: a ban names an address, a prefix or an AS")]
    NotBannable,
}

impl Target {
    /// Reads what an operator wrote for an exemption or a ban. An IPv6 address is banned with its /64, which
    /// is what a customer has, unless it is written with /128.
    ///
    /// # Errors
    /// [`InvalidTarget`] if it names nothing, or nothing that can be exempt or banned.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, InvalidTarget> {
        let invalid = |flaw| InvalidTarget { text: text.to_owned(), flaw };
        let target = match (kind, text.parse()) {
            (Kind::Ban, Ok(IpAddr::V6(v6))) => Self::of_prefix(customer(v6)),
            (Kind::Ban | Kind::Exemption, _) => text.parse()?,
        };
        // An address is judged as it was written, not by its /64.
        let written = text.parse().map_or_else(|_| target.clone(), Self::Address);
        written.check(kind).map_err(invalid)?;
        Ok(target)
    }

    /// The target that a prefix is.
    pub fn of_prefix(prefix: IpNet) -> Self {
        match prefix.prefix_len() == prefix.max_prefix_len() {
            true => Self::Address(prefix.addr()),
            false => Self::Prefix(prefix.trunc()),
        }
    }

    /// The prefix it is, if it is an address or a prefix.
    pub fn prefix(&self) -> Option<IpNet> {
        match self {
            Self::Address(address) => Some(IpNet::from(*address)),
            Self::Prefix(prefix) => Some(*prefix),
            Self::Name(_) | Self::System(_) | Self::Provider(_) => None,
        }
    }

    /// The single source it is, if it is one.
    pub fn single(&self) -> Option<AddressKey> {
        self.prefix().and_then(AddressKey::exactly)
    }

    /// The target that is this single source.
    pub fn of_single(key: AddressKey) -> Self {
        Self::of_prefix(key.prefix())
    }

    /// The names whose addresses it stands for.
    pub fn names(&self) -> &[HostName] {
        match self {
            Self::Name(name) => std::slice::from_ref(name),
            Self::Provider(provider) => &provider.names,
            Self::Address(_) | Self::Prefix(_) | Self::System(_) => &[],
        }
    }

    /// Whether it can be exempt or banned.
    ///
    /// # Errors
    /// [`Flaw`] if it can't.
    pub fn check(&self, kind: Kind) -> Result<(), Flaw> {
        let Some(prefix) = self.prefix() else {
            return match (kind, self) {
                (Kind::Ban, Self::Name(_) | Self::Provider(_)) => Err(Flaw::NotBannable),
                _ => Ok(()),
            };
        };
        let widest = match prefix {
            IpNet::V4(_) => WIDEST_BAN_V4,
            IpNet::V6(_) => WIDEST_BAN_V6,
        };
        match (kind, prefix.prefix_len()) {
            (Kind::Exemption, 0) => return Err(Flaw::Everybody),
            (Kind::Ban, length) if length < widest => return Err(Flaw::TooWide(widest)),
            (Kind::Exemption | Kind::Ban, _) => {}
        }
        check_global(prefix)
    }
}

/// The /64 around an address.
fn customer(address: Ipv6Addr) -> IpNet {
    AddressKey::of(address.into()).prefix()
}

/// Whether an address can be a source on the internet.
///
/// # Errors
/// [`Flaw`] if it can't.
pub fn check_global(prefix: IpNet) -> Result<(), Flaw> {
    let (first, last) = (prefix.network(), prefix.broadcast());
    let both = |is: fn(IpAddr) -> bool| is(first) && is(last);
    if let (IpAddr::V6(v6), true) = (first, both(|address| address.to_canonical().is_ipv4()))
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(Flaw::Mapped(v4));
    }
    match prefix {
        _ if both(|address| address.is_loopback()) => Err(Flaw::NotGlobal("loopback")),
        _ if both(is_private) => Err(Flaw::NotGlobal("private")),
        _ if both(is_link_local) => Err(Flaw::NotGlobal("link-local")),
        _ if both(|address| address.is_multicast()) => Err(Flaw::NotGlobal("multicast")),
        IpNet::V4(_) if both(is_this_network) => Err(Flaw::NotGlobal("no address")),
        IpNet::V6(_) if !both(is_routed) => Err(Flaw::OutsideGlobalV6),
        IpNet::V4(_) | IpNet::V6(_) => Ok(()),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_this_network(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.is_broadcast())
}

fn is_routed(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] >> 13 == 1)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With its length, since a ban of an IPv6 address without one is of its /64.
            Self::Address(IpAddr::V6(v6)) => write!(f, "{v6}/128"),
            Self::Address(address) => address.fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::System(number) => number.fmt(f),
            Self::Provider(provider) => write!(f, "@{}", provider.name),
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    /// Reads any of the forms, without asking whether it can be exempt or banned.
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let invalid = |flaw| InvalidTarget { text: text.to_owned(), flaw };
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if text.contains('/') {
            return read_prefix(text).map_err(invalid);
        }
        if let Some(name) = text.strip_prefix('@') {
            let provider = provider::find(name).ok_or_else(|| invalid(Flaw::NoProvider))?;
            return Ok(Self::Provider(provider));
        }
        if is_numbered(text) {
            let number = text.parse().map_err(|_| invalid(Flaw::NotASystem))?;
            return Ok(Self::System(number));
        }
        text.parse().map(Self::Name).map_err(|flaw| invalid(flaw.into()))
    }
}

fn read_prefix(text: &str) -> Result<Target, Flaw> {
    let prefix: IpNet = text.parse().map_err(|_| Flaw::NotAPrefix)?;
    match prefix == prefix.trunc() {
        true => Ok(Target::of_prefix(prefix)),
        false => Err(Flaw::HostBits(prefix.trunc())),
    }
}

/// `AS` and digits.
fn is_numbered(text: &str) -> bool {
    let digits = text.get(..2).filter(|start| start.eq_ignore_ascii_case("as")).map(|_| &text[2..]);
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

impl TryFrom<String> for Target {
    type Error = InvalidTarget;

    fn try_from(text: String) -> Result<Self, InvalidTarget> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, kind: Kind) -> Result<String, Flaw> {
        Target::parse(text, kind).map(|target| target.to_string()).map_err(|error| error.flaw)
    }

    #[test]
    fn targets_have_one_form() {
        for (text, form) in [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9/32", "203.0.113.9"),
            ("203.0.112.0/23", "203.0.112.0/23"),
            ("2A00:1::1", "2a00:1::1/128"),
            ("2a00:1::1/128", "2a00:1::1/128"),
            ("2a00:1::/48", "2a00:1::/48"),
            ("as64500", "AS64500"),
            ("SIP.Example.com.", "sip.example.com"),
            ("as1.example.com", "as1.example.com"),
            ("@Telnyx", "@telnyx"),
        ] {
            assert_eq!(parse(text, Kind::Exemption).as_deref(), Ok(form), "{text}");
            let target = Target::parse(text, Kind::Exemption).unwrap();
            assert_eq!(form.parse().as_ref(), Ok(&target));
        }
    }

    #[test]
    fn an_ipv6_address_is_banned_with_its_64() {
        assert_eq!(parse("2a00:1::1", Kind::Ban).as_deref(), Ok("2a00:1::/64"));
        assert_eq!(parse("2a00:1::1/128", Kind::Ban).as_deref(), Ok("2a00:1::1/128"));
        assert_eq!(parse("203.0.113.9", Kind::Ban).as_deref(), Ok("203.0.113.9"));
    }

    #[test]
    fn what_never_comes_from_the_internet_is_refused() {
        for kind in [Kind::Exemption, Kind::Ban] {
            for (text, what) in [
                ("10.1.2.3", "private"),
                ("172.16.0.0/12", "private"),
                ("192.168.0.0/24", "private"),
                ("100.64.0.1", "private"),
                ("fd00::1", "private"),
                ("127.0.0.1", "loopback"),
                ("::1", "loopback"),
                ("169.254.0.0/16", "link-local"),
                ("fe80::1", "link-local"),
                ("239.1.1.1", "multicast"),
                ("ff02::1", "multicast"),
                ("0.0.0.0", "no address"),
                ("255.255.255.255", "no address"),
            ] {
                assert_eq!(parse(text, kind), Err(Flaw::NotGlobal(what)), "{text}");
            }
            assert_eq!(parse("4000::1", kind), Err(Flaw::OutsideGlobalV6));
            assert_eq!(
                parse("2000::/2", Kind::Exemption),
                Err(Flaw::HostBits("::/2".parse().unwrap()))
            );
            let mapped = Flaw::Mapped([203, 0, 113, 9].into());
            assert_eq!(parse("::ffff:203.0.113.9", kind), Err(mapped));
        }
    }

    #[test]
    fn widths_have_their_limits() {
        assert_eq!(parse("0.0.0.0/0", Kind::Exemption), Err(Flaw::Everybody));
        assert_eq!(parse("::/0", Kind::Exemption), Err(Flaw::Everybody));
        assert!(parse("128.0.0.0/1", Kind::Exemption).is_ok());
        assert!(parse("2000::/3", Kind::Exemption).is_ok());
        assert!(parse("2.0.0.0/8", Kind::Ban).is_ok());
        assert_eq!(parse("2.0.0.0/7", Kind::Ban), Err(Flaw::TooWide(8)));
        assert!(parse("2a00::/20", Kind::Ban).is_ok());
        assert_eq!(parse("2a00::/19", Kind::Ban), Err(Flaw::TooWide(20)));
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, flaw) in [
            ("203.0.113.9/24", Flaw::HostBits("203.0.113.0/24".parse().unwrap())),
            ("203.0.113.0/33", Flaw::NotAPrefix),
            ("sip.example.com/24", Flaw::NotAPrefix),
            ("AS0", Flaw::NotASystem),
            ("AS", Flaw::NotASystem),
            ("AS4294967296", Flaw::NotASystem),
            ("@nobody", Flaw::NoProvider),
            ("@", Flaw::NoProvider),
            ("1.2.3.999", Flaw::NotAName(InvalidHostName::Number)),
            ("", Flaw::NotAName(InvalidHostName::Part)),
        ] {
            assert_eq!(parse(text, Kind::Exemption), Err(flaw), "{text}");
        }
        for text in ["sip.example.com", "@telnyx"] {
            assert_eq!(parse(text, Kind::Ban), Err(Flaw::NotBannable), "{text}");
        }
        assert_eq!(parse("AS64500", Kind::Ban).as_deref(), Ok("AS64500"));
    }
}
