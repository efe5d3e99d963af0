//! What the engine does about fail2ban's bans: they go where the operator's go, but for those who are protected,
//! and those that anybody could have forged are short and few. fail2ban is not told no: it would only complain. It
//! learns by its [`Ask::Check`] that somebody it believes banned is free again, and bans him anew when it finds him.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use geofilter_core::book::{Edit, Kind, Note, Origin, Record, Target, UnixTime};
use geofilter_core::fail2ban::{Ask, Guard, Jail, Judgement};
use geofilter_core::wire::{Failure, Noted, Reply};
use ipnet::IpNet;

use super::engine::Engine;
use super::ledger;
use crate::cli::{failed, invalid};

const FORGED: &str = "nothing proves who sent the packets behind this";

/// How many bans that ended early are remembered.
const MOST_EARLY: usize = 10_000;

/// What is kept of what fail2ban asked.
#[derive(Debug, Default)]
pub(super) struct Bans {
    guard: Guard,
    early: BTreeMap<(Jail, IpAddr), Early>,
}

/// A ban that ended, or ends, before the jail knows.
#[derive(Debug, Clone, Copy)]
struct Early {
    ends: UnixTime,
    /// When the jail believes it to end; never without.
    believed: Option<UnixTime>,
}

impl Bans {
    fn remember(&mut self, jail: &Jail, address: IpAddr, early: Early, now: UnixTime) {
        if self.early.len() >= MOST_EARLY {
            self.early.retain(|_, early| early.believed.is_none_or(|until| now < until));
        }
        if self.early.len() < MOST_EARLY {
            self.early.insert((jail.clone(), address), early);
        }
    }

    /// Whether the jail believes somebody banned who is free.
    fn is_mistaken(&self, jail: &Jail, now: UnixTime) -> bool {
        let free = |early: &Early| {
            early.ends <= now && early.believed.is_none_or(|believed| now < believed)
        };
        self.early.iter().any(|((of, _), early)| of == jail && free(early))
    }

    /// The jail bans anew whom it finds.
    fn forget_free(&mut self, jail: &Jail, now: UnixTime) {
        self.early.retain(|(of, _), early| of != jail || now < early.ends);
    }
}

impl Engine {
    pub(super) fn fail2ban(&mut self, ask: Ask) -> Result<Reply, Failure> {
        let noted = match ask {
            Ask::Ban { address, jail, began, until, proven } => {
                self.ban_for(address.to_canonical(), &jail, (began, until), proven)?
            }
            Ask::Unban { address, until } => self.unban_for(address.to_canonical(), until)?,
            Ask::Check { jail } => match self.bans.is_mistaken(&jail, ledger::unix_now()) {
                true => {
                    let jail = jail.as_str();
                    return Err(failed(format!(
                        "bans of the jail {jail} ended early, since nothing proves who sent the packets behind them: it bans anew whom it finds again"
                    )));
                }
                false => Noted::default(),
            },
            Ask::Repair { jail } => {
                self.bans.forget_free(&jail, ledger::unix_now());
                Noted::default()
            }
        };
        Ok(Reply::Noted(noted))
    }

    fn ban_for(
        &mut self,
        address: IpAddr,
        jail: &Jail,
        (began, until): (Option<UnixTime>, Option<UnixTime>),
        proven: bool,
    ) -> Result<Noted, Failure> {
        let now = ledger::unix_now();
        let name = jail.as_str();
        if until.is_some_and(|until| until <= now) {
            return Ok(warned(format!("{address} is not banned: the ban has ended")));
        }
        if let Some(why) = self.reason_to_spare(address) {
            tracing::info!(jail = name, "a ban was refused: whom it is for is protected");
            tracing::debug!(jail = name, %address, why, "a ban was refused");
            return Ok(warned(format!("{address} is not banned: {why}")));
        }
        let target = self.target(address)?;
        if self.is_banned_until(&target, until) {
            return Ok(warned(format!("{target} is banned for at least as long already")));
        }
        let span = (began.unwrap_or(now).min(now), until);
        let judgement = self.bans.guard.judge(address, span, proven, now);
        if let Judgement::Short(short) = judgement
            && let Some(longer) = self.banned_longer(&target, short)
        {
            self.bans.remember(jail, address, Early { ends: longer, believed: until }, now);
            return Ok(warned(format!(
                "{target} is banned already, for longer than this ban could last: {FORGED}"
            )));
        }
        let ends = match judgement {
            Judgement::Whole => None,
            Judgement::Short(short) => Some(short),
            Judgement::Over | Judgement::OverBudget => Some(now),
        };
        if let Some(ends) = ends {
            self.bans.remember(jail, address, Early { ends, believed: until }, now);
        }
        let (until, note, warnings) = match judgement {
            Judgement::Whole => (until, format!("jail {name}"), Vec::new()),
            Judgement::Short(short) => {
                tracing::info!(jail = name, "a ban was cut short: it could be forged");
                let seconds = short.0 - now.0;
                let warning = format!("{target} is banned for {seconds} seconds only: {FORGED}");
                (Some(short), format!("jail {name}, cut short: it could be forged"), vec![warning])
            }
            Judgement::Over => {
                return Ok(warned(format!("{address} is not banned any more: {FORGED}")));
            }
            Judgement::OverBudget => {
                tracing::info!(
                    jail = name,
                    "a ban was refused: it could be forged, as many of this minute could"
                );
                return Ok(warned(format!(
                    "{address} is not banned: {FORGED}, and there were many like it in this minute"
                )));
            }
        };
        let note = Note::try_from(note).map_err(|error| invalid(error.to_string()))?;
        let added = vec![target.to_string()];
        let shared = target.clone();
        let record = Record { target, origin: Origin::Fail2ban, until, note, added: now };
        self.change(vec![Edit::Put { kind: Kind::Ban, record }])?;
        self.share_ban(&shared, until, proven, &format!("jail {name}"));
        let warnings = warnings.into_iter().chain(self.not_in_force()).collect();
        Ok(Noted { added, removed: Vec::new(), warnings })
    }

    fn unban_for(&mut self, address: IpAddr, until: Option<UnixTime>) -> Result<Noted, Failure> {
        let (mut edits, mut noted, mut ended) = (Vec::new(), Noted::default(), Vec::new());
        self.bans.early.retain(|(_, of), early| *of != address || outlasts(early.believed, until));
        for target in BTreeSet::from([parsed(address.to_string())?, alone(address)?]) {
            if self.bans_of(&target).any(|record| outlasts(record.until, until)) {
                noted
                    .warnings
                    .push(format!("{target} stays banned: another jail asked for longer"));
                continue;
            }
            let removal = self.ledger.book.removal(Kind::Ban, &target, Some(Origin::Fail2ban));
            if !removal.is_empty() {
                noted.removed.push(target.to_string());
                ended.extend(self.bans_of(&target).map(|record| (target.clone(), record.until)));
            }
            let mut records = self.ledger.book.records_for(Kind::Ban, &target);
            if records.any(|record| record.origin == Origin::Fleet) {
                noted.warnings.push(format!("{target} stays banned: hosts of the fleet share a ban of it, which `geofilter ban remove` ends here"));
            }
            edits.extend(removal);
        }
        self.change(edits)?;
        self.decline_bans(&ended);
        Ok(noted)
    }

    /// The bans of fail2ban's for a target.
    fn bans_of(&self, target: &Target) -> impl Iterator<Item = &Record> {
        let records = self.ledger.book.records_for(Kind::Ban, target);
        records.filter(|record| record.origin == Origin::Fail2ban)
    }

    /// Whether a ban of fail2ban's lasts at least so long.
    fn is_banned_until(&self, target: &Target, until: Option<UnixTime>) -> bool {
        self.bans_of(target).any(|record| !outlasts(until, record.until))
    }

    /// When the ban of fail2ban's ends that lasts beyond this, if there is one.
    fn banned_longer(&self, target: &Target, than: UnixTime) -> Option<UnixTime> {
        self.bans_of(target).find(|record| outlasts(record.until, Some(than)))?.until
    }

    /// An IPv6 address is banned with its network, unless somebody protected is there.
    fn target(&mut self, address: IpAddr) -> Result<Target, Failure> {
        let network = parsed(address.to_string())?;
        let shared = network.prefix().is_some_and(|prefix| {
            let peers = self.live_peers(&mut Vec::new());
            peers.iter().any(|peer| prefix.contains(&peer.value.ip())) || self.ear.knows_in(prefix)
        });
        if shared { alone(address) } else { Ok(network) }
    }
}

fn parsed(text: String) -> Result<Target, Failure> {
    Target::parse(&text, Kind::Ban).map_err(|error| invalid(error.to_string()))
}

fn alone(address: IpAddr) -> Result<Target, Failure> {
    parsed(IpNet::from(address).to_string())
}

/// Whether one end comes later than another.
fn outlasts(one: Option<UnixTime>, other: Option<UnixTime>) -> bool {
    match (one, other) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
    }
}

fn warned(warning: String) -> Noted {
    Noted { warnings: vec![warning], ..Noted::default() }
}

#[cfg(test)]
mod tests;
