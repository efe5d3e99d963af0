//! [`Limits`]: what an organisation may do at most, as its portal says.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::book::Target;

/// See the module; what is not said is not limited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Exemptions that the operators of a host may have made there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemptions: Option<u32>,
    /// Bits that an IPv4 prefix has at least that is exempt: 24 for no more than 256 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_v4: Option<u8>,
    /// The same of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_v6: Option<u8>,
    /// Profiles of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profiles: Option<u32>,
    /// Hosts that are enrolled and were not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<u32>,
}

/// More than an organisation may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Exemptions.
    #[error(
        "the portal of this host allows {0} exemptions, and there are as many: remove one first"
    )]
    Exemptions(u32),
    /// The size of one.
    #[error(
        "the portal of this host allows exemptions of /{0} and smaller: exempt the addresses themselves"
    )]
    Prefix(u8),
    /// One whose size is anybody's.
    #[error(
        "the portal of this host limits how much may be exempt at a time, and nobody knows how much an AS or a provider is: exempt the addresses themselves"
    )]
    Boundless,
}

impl Limits {
    /// Whether this may be exempt where so many are.
    ///
    /// # Errors
    /// If not.
    pub fn check(&self, target: &Target, exempt: usize) -> Result<(), Exceeded> {
        if let Some(most) = self.exemptions
            && exempt >= usize::try_from(most).unwrap_or(usize::MAX)
        {
            return Err(Exceeded::Exemptions(most));
        }
        let smallest = |prefix: &IpNet| match prefix {
            IpNet::V4(_) => self.smallest_v4,
            IpNet::V6(_) => self.smallest_v6,
        };
        match target {
            Target::Address(_) | Target::Name(_) => Ok(()),
            Target::Prefix(prefix) => match smallest(prefix) {
                Some(bits) if prefix.prefix_len() < bits => Err(Exceeded::Prefix(bits)),
                _ => Ok(()),
            },
            Target::System(_) | Target::Provider(_) => {
                match self.smallest_v4.or(self.smallest_v6) {
                    Some(_) => Err(Exceeded::Boundless),
                    None => Ok(()),
                }
            }
        }
    }

    /// Those that a host of it keeps by itself.
    #[must_use]
    pub fn of_host(&self) -> Self {
        let Self { exemptions, smallest_v4, smallest_v6, profiles: _, hosts: _ } = *self;
        Self { exemptions, smallest_v4, smallest_v6, profiles: None, hosts: None }
    }

    /// Whether they can be meant.
    pub fn are_sound(&self) -> bool {
        self.smallest_v4.is_none_or(|bits| bits <= 32)
            && self.smallest_v6.is_none_or(|bits| bits <= 128)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_limits_is_not_exempt() {
        let limits = Limits {
            exemptions: Some(2),
            smallest_v4: Some(24),
            smallest_v6: Some(48),
            ..Limits::default()
        };
        let check = |target: &str, exempt| limits.check(&target.parse().unwrap(), exempt);
        assert_eq!(check("192.0.2.7", 1), Ok(()));
        assert_eq!(check("192.0.2.7", 2), Err(Exceeded::Exemptions(2)));
        assert_eq!(check("198.51.100.0/24", 0), Ok(()));
        assert_eq!(check("198.51.0.0/16", 0), Err(Exceeded::Prefix(24)));
        assert_eq!(check("2001:db8:1::/48", 0), Ok(()));
        assert_eq!(check("2001:db8::/32", 0), Err(Exceeded::Prefix(48)));
        assert_eq!(check("AS64500", 0), Err(Exceeded::Boundless));
        assert_eq!(check("trunk.example.net", 0), Ok(()));
        assert_eq!(Limits::default().check(&"0.0.0.0/1".parse().unwrap(), 9999), Ok(()));
    }
}
