//! What a recommendation can't know, and what an operator should know beside it.

use super::Around;
use super::choice::{Basis, Choice, Hosting};
use super::evidence::Facts;
use super::people::Person;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Logs of less time miss phones that are used on some days only.
const ENOUGH: u64 = 7 * DAY;

pub(super) fn cannot_know(facts: &Facts, around: &Around) -> Vec<String> {
    let mut cannot = Vec::new();
    if let Some((since, until)) = facts.since.zip(facts.until) {
        let covers = until.distance(since);
        let short = if covers < ENOUGH { "; a week of logs says more" } else { "" };
        cannot.push(format!(
            "phones that did not log in in the {} that the logs cover, and who will travel{short}",
            span(covers)
        ));
    }
    if !facts.security {
        cannot.push(
            "who logged in: only Asterisk's security events tell, and none are among the lines; add `security.log => security` to [logfiles] in logger.conf, then `asterisk -rx 'logger reload'`"
                .to_owned(),
        );
    }
    cannot.push(match &around.pbxs {
        None => "trunks, of which nobody asked the PBX: one that it knows by its address leaves no login; `geofilter recommend` without --log asks, on the PBX's host as root".to_owned(),
        Some(_) => "providers that call in without being configured in the PBX, and callers who need no login: they leave none".to_owned(),
    });
    cannot.push(
        "whether a password is stolen: a thief who guessed it elsewhere looks like a phone"
            .to_owned(),
    );
    cannot
}

/// `17 minutes`.
pub(super) fn span(milliseconds: u64) -> String {
    let (value, one) = match milliseconds {
        0..HOUR => (milliseconds.div_ceil(MINUTE), "minute"),
        HOUR..DAY => (milliseconds / HOUR, "hour"),
        DAY.. => (milliseconds / DAY, "day"),
    };
    if value == 1 { format!("1 {one}") } else { format!("{value} {one}s") }
}

pub(super) fn warnings(
    facts: &Facts,
    people: &[Person<'_>],
    choice: &Choice,
    around: &Around,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if facts.local_attempts > 0 {
        warnings.push(format!(
            "{} of the attempts come from addresses that are not of the internet, which pass: they are local, or something before this host hides who sent them",
            facts.local_attempts
        ));
    }
    if facts.found > 0 {
        warnings.push(format!(
            "{} of the attempts are lines that only fail2ban tells of; one attempt may have left several",
            facts.found
        ));
    }
    if facts.more {
        warnings.push(
            "there are more addresses or phones in the logs than are told apart: figures of addresses are too low"
                .to_owned(),
        );
    }
    if choice.hosting == Hosting::Drop && around.pbxs.is_none() {
        warnings.push(
            "a trunk provider in a hosting network would be cut unless the PBX is configured with it: the agent refuses --hosting drop while it knows no trunk; exempt the provider first (`geofilter exempt add`)"
                .to_owned(),
        );
    }
    let cut_now = people.iter().filter(|it| {
        let cut = choice.policy.as_ref().is_some_and(|policy| super::choice::is_cut(it, policy));
        cut && it.phone.registered && !choice.exempted.contains(&it.address)
    });
    let cut_now = cut_now.count();
    if cut_now > 0 && choice.basis != Basis::TooFewLogins {
        warnings.push(format!(
            "{cut_now} of those who would be cut are registered now, so the command is refused until they are exempt, or it has --keep-registered 7d or --accept-risk lose-phones"
        ));
    }
    warnings
}
