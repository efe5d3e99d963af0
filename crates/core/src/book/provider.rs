//! [`Provider`]: the addresses that a telephony provider publishes for its SIP servers, as they were on a
//! day. The lists lie in `data/providers`.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use ipnet::IpNet;

use super::host_name::HostName;

/// The lists, as text.
const TEXTS: &[&str] = &[
    include_str!("../../../../data/providers/didww.txt"),
    include_str!("../../../../data/providers/teams.txt"),
    include_str!("../../../../data/providers/telnyx.txt"),
    include_str!("../../../../data/providers/twilio.txt"),
];

static PROVIDERS: LazyLock<Vec<Provider>> =
    LazyLock::new(|| TEXTS.iter().filter_map(|text| Provider::read(text)).collect());

/// What a provider publishes. Providers are told apart by their names.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The name that an exemption gives, after `@`.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Where it is published.
    pub source: String,
    /// When it was read there.
    pub date: String,
    /// Prefixes.
    pub prefixes: Vec<IpNet>,
    /// Host names.
    pub names: Vec<HostName>,
}

/// Every list there is, by name.
pub fn all() -> &'static [Provider] {
    &PROVIDERS
}

/// The list of this name, in any case.
pub fn find(name: &str) -> Option<&'static Provider> {
    all().iter().find(|provider| provider.name.eq_ignore_ascii_case(name))
}

/// The names of the lists, as they are written.
pub(super) fn names() -> String {
    let names: Vec<_> = all().iter().map(|provider| format!("@{}", provider.name)).collect();
    names.join(", ")
}

impl Provider {
    /// Reads a list: a keyword and a value on each line, and lines of remarks that begin with `#`. `None` if
    /// it is not whole.
    fn read(text: &str) -> Option<Self> {
        let lines = || {
            let lines = text.lines().map(str::trim);
            lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
        };
        let values = |key: &'static str| {
            lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix(' ').map(str::trim))
        };
        let one = |key| values(key).next().map(str::to_owned);
        let known = ["name", "title", "source", "date", "prefix", "host"];
        let is_known = |line: &str| known.contains(&line.split(' ').next().unwrap_or_default());
        lines().all(is_known).then_some(())?;
        Some(Self {
            name: one("name")?,
            title: one("title")?,
            source: one("source")?,
            date: one("date")?,
            prefixes: values("prefix").map(|prefix| prefix.parse().ok()).collect::<Option<_>>()?,
            names: values("host").map(|name| name.parse().ok()).collect::<Option<_>>()?,
        })
    }
}

impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Provider {}

impl PartialOrd for Provider {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Provider {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

impl Hash for Provider {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Kind, Target};

    #[test]
    fn every_list_can_be_used() {
        assert_eq!(all().len(), TEXTS.len(), "a list is not whole");
        for provider in all() {
            let Provider { name, source, date, prefixes, names, .. } = provider;
            assert!(source.starts_with("https://"), "{name}");
            assert!(date.len() == 10 && date.starts_with("20"), "{name}");
            assert!(!prefixes.is_empty() || !names.is_empty(), "{name}");
            for prefix in prefixes {
                assert_eq!(*prefix, prefix.trunc(), "{name}");
                assert_eq!(
                    Target::of_prefix(*prefix).check(Kind::Exemption),
                    Ok(()),
                    "{name} {prefix}"
                );
            }
        }
        assert!(all().is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn a_list_with_a_mistake_is_none() {
        let whole =
            "name x\ntitle X\nsource https://x.example\ndate 2026-01-01\nprefix 203.0.113.0/24\n";
        assert!(Provider::read(whole).is_some());
        for mistake in ["prefx 203.0.113.0/24", "prefix 203.0.113.0/33", "host 1.2.3"] {
            assert!(Provider::read(&format!("{whole}{mistake}\n")).is_none(), "{mistake}");
        }
        assert!(Provider::read(whole.trim_start_matches("name x\n")).is_none());
    }
}
