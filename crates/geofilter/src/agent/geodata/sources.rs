//! [`Wishes`]: which sources the administrator wants world data from, in the configuration's `[geodata]`.

use std::collections::HashMap;
use std::fs;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use geofilter_core::geodata::corrections::Corrections;
use geofilter_update::Patience;
use geofilter_update::sources::{Day, Known, Part, Place, Source};
use serde::Deserialize;
use serde::de::{Deserializer, IntoDeserializer};

use crate::agent::{ledger, records};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Wishes {
    /// Hours between two updates that nobody asks for; 0 for none.
    every_hours: u64,
    /// Whether this host uses what the portal of its fleet serves; if not said, unless it names sources of its own.
    portal: Option<bool>,
    /// The source of countries that decides; `kept` for what is in use.
    #[serde(deserialize_with = "known_or_kept")]
    primary: Option<Known>,
    /// The second opinion, in the same way.
    #[serde(deserialize_with = "known_or_kept")]
    second: Option<Known>,
    /// Who announces what, in the same way.
    #[serde(deserialize_with = "known_or_kept")]
    systems: Option<Known>,
    /// What kinds of networks those are; `kept` for the list and the names that come with the program.
    #[serde(deserialize_with = "known_or_kept")]
    classes: Option<Known>,
    /// What the administrator knows better than all of them: `prefix,country` a line.
    corrections: Option<PathBuf>,
    /// Addresses that must be judged as they are now, or new data is held.
    pub(crate) canaries: Vec<IpAddr>,
    maxmind: Option<Maxmind>,
    ipinfo: Option<Ipinfo>,
    /// Where a source is instead of where its owner has it: a mirror. All of its files, in order.
    mirrors: HashMap<Known, Vec<String>>,
    /// How long is waited for servers.
    pub(crate) patience: Patience,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Maxmind {
    account: u64,
    licence_key_file: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Ipinfo {
    token_file: PathBuf,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            every_hours: 24,
            portal: None,
            primary: Some(Known::DbipLite),
            second: Some(Known::Rir),
            systems: Some(Known::Iptoasn),
            classes: None,
            corrections: None,
            canaries: Vec::new(),
            maxmind: None,
            ipinfo: None,
            mirrors: HashMap::new(),
            patience: Patience::default(),
        }
    }
}

impl Wishes {
    /// Seconds between two updates that nobody asks for, a year at most; none if there are none.
    pub(crate) fn interval(&self) -> Option<u64> {
        (self.every_hours > 0).then(|| self.every_hours.min(24 * 365) * 3600)
    }

    /// Whether this host uses what the portal of its fleet serves. Who named sources wants these; a mirror is but another way to the same,
    /// and corrections and canaries hold for whatever comes.
    pub(crate) fn takes_portals(&self) -> bool {
        let usual = Self::default();
        let names = |wishes: &Self| {
            let Self { primary, second, systems, classes, maxmind, ipinfo, .. } = wishes.clone();
            (primary, second, systems, classes, maxmind, ipinfo)
        };
        self.portal.unwrap_or_else(|| names(self) == names(&usual))
    }

    /// The files with secrets that sources ask for.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Path> {
        let maxmind = self.maxmind.as_ref().map(|maxmind| &*maxmind.licence_key_file);
        maxmind.into_iter().chain(self.ipinfo.as_ref().map(|ipinfo| &*ipinfo.token_file))
    }

    /// What the administrator knows better, as it is written now.
    ///
    /// # Errors
    /// If the file can't be read, or makes no sense.
    pub(crate) fn corrections(&self) -> anyhow::Result<Corrections> {
        let Some(path) = &self.corrections else { return Ok(Corrections::none()) };
        let unusable = || format!("cannot use the corrections in {}", path.display());
        let file = fs::File::open(path).with_context(unusable)?;
        Corrections::parse(BufReader::new(file)).with_context(unusable)
    }

    /// The sources of today, with the secrets that they ask for.
    ///
    /// # Errors
    /// If a source can't be what it is named for, or its key can't be read.
    pub(crate) fn sources(&self) -> anyhow::Result<Vec<(Part, Source)>> {
        let today = records::day(ledger::unix_now());
        let wanted = [
            (Part::Primary, self.primary),
            (Part::Second, self.second),
            (Part::Systems, self.systems),
            (Part::Classes, self.classes),
        ];
        let wanted = wanted.into_iter().filter_map(|(part, known)| Some((part, known?)));
        wanted.map(|(part, known)| Ok((part, self.source(part, known, today)?))).collect()
    }

    fn source(&self, part: Part, known: Known, today: Day) -> anyhow::Result<Source> {
        let fits = match known {
            Known::Iptoasn => part == Part::Systems,
            Known::AsMetadata => part == Part::Classes,
            Known::IpinfoLite | Known::Ipfire => part != Part::Classes,
            Known::DbipLite | Known::Maxmind | Known::Rir => {
                matches!(part, Part::Primary | Part::Second)
            }
        };
        ensure!(
            fits,
            "[geodata] names a source for what it has nothing of: countries, autonomous systems, or kinds of these"
        );
        let mut source = known.source(today);
        if let Some(urls) = self.mirrors.get(&known) {
            let digest = source.places.first().and_then(|place| place.digest);
            let place = |url: &String| Place { urls: vec![url.clone()], digest };
            source.places = urls.iter().map(place).collect();
            // Secrets are for the owner's server.
            return Ok(source);
        }
        match known {
            Known::Maxmind => {
                let Some(Maxmind { account, licence_key_file }) = &self.maxmind else {
                    bail!("GeoLite2 needs `[geodata.maxmind] account` and `licence-key-file`");
                };
                let key = secret(licence_key_file)?;
                source.authorization =
                    Some(("authorization".to_owned(), basic(&account.to_string(), &key)));
            }
            Known::IpinfoLite => {
                let Some(Ipinfo { token_file }) = &self.ipinfo else {
                    bail!("IPinfo Lite needs `[geodata.ipinfo] token-file`");
                };
                let bearer = format!("Bearer {}", secret(token_file)?);
                source.authorization = Some(("authorization".to_owned(), bearer));
            }
            Known::DbipLite | Known::Rir | Known::Ipfire | Known::Iptoasn | Known::AsMetadata => {}
        }
        Ok(source)
    }
}

fn known_or_kept<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Known>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "kept" => Ok(None),
        name => Known::deserialize(name.into_deserializer()).map(Some),
    }
}

fn secret(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the key {}", file.display()))?;
    let text = text.trim();
    ensure!(
        !text.is_empty() && text.chars().all(|letter| letter.is_ascii_graphic()),
        "{} has no key in it: one word is expected",
        file.display()
    );
    Ok(text.to_owned())
}

/// RFC 7617.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_names_sources_keeps_to_them_unless_it_says_otherwise() {
        let takes = |text: &str| toml::from_str::<Wishes>(text).unwrap().takes_portals();
        for text in [
            "",
            "every-hours = 0",
            "corrections = '/x'",
            "canaries = ['192.0.2.1']",
            "mirrors.rir = ['https://mirror.example/x']",
            "primary = 'ipfire'\nportal = true",
        ] {
            assert!(takes(text), "{text}");
        }
        for text in ["primary = 'ipfire'", "second = 'kept'", "portal = false"] {
            assert!(!takes(text), "{text}");
        }
    }

    #[test]
    fn who_asks_for_a_key_is_refused_without_one() {
        let wishes = |text: &str| toml::from_str::<Wishes>(text).unwrap();
        assert!(Wishes::default().sources().is_ok());
        let without = wishes("primary = 'maxmind'").sources().unwrap_err().to_string();
        assert!(without.contains("licence-key-file"), "{without}");
        let wrong = wishes("systems = 'dbip-lite'").sources().unwrap_err().to_string();
        assert!(wrong.contains("nothing of"), "{wrong}");
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        fs::write(&key, "sesame\n").unwrap();
        let text = format!(
            "primary = 'maxmind'\n[maxmind]\naccount = 7\nlicence-key-file = '{}'",
            key.display()
        );
        let sources = wishes(&text).sources().unwrap();
        let (_, value) = sources[0].1.authorization.clone().unwrap();
        assert_eq!(value, "Basic NzpzZXNhbWU=");
        let mirrored =
            text.replace("[maxmind]", "mirrors.maxmind = ['https://mirror.example/x']\n[maxmind]");
        let sources = wishes(&mirrored).sources().unwrap();
        assert_eq!(sources[0].1.authorization, None, "no key is for a mirror");
    }
}
