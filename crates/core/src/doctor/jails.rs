//! fail2ban beside Asterisk.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Severity::{Note, Problem, Warning};
use super::facts::{Fail2ban, Jail};
use super::network::unlisted;
use super::phones::at_home;
use super::{Check, Code, Complaint, Facts, Outcome, Seen};
use crate::desired::State;
use crate::pbx::{Kind, LogFile};

pub(super) const CHECKS: &[Check] = &[
    (Code::Fail2banNotRunning, not_running),
    (Code::Fail2banNoJail, no_jail),
    (Code::Fail2banLogUnread, log_unread),
    (Code::Fail2banCountsTwice, counts_twice),
    (Code::Fail2banMayBanFriends, may_ban_friends),
    (Code::Fail2banBansFriends, bans_friends),
    (Code::Fail2banTableMissing, table_missing),
    (Code::Fail2banBansUnenforced, bans_unenforced),
    (Code::Fail2banBlindToFloods, blind_to_floods),
];

fn installed(facts: &Facts) -> Seen<&Fail2ban> {
    let fail2ban = facts.fail2ban.as_ref().map_err(Clone::clone)?;
    fail2ban.as_ref().ok_or_else(|| "fail2ban is not installed".to_owned())
}

fn has_asterisk(facts: &Facts) -> bool {
    at_home(facts).any(|pbx| pbx.kind == Kind::Asterisk)
}

/// The jails for Asterisk, by what they read or are called.
fn jails(facts: &Facts) -> Seen<Vec<&Jail>> {
    let jails = installed(facts)?.jails.as_ref().map_err(Clone::clone)?;
    Ok(jails.iter().filter(|jail| is_for_asterisk(jail)).collect())
}

fn is_for_asterisk(jail: &Jail) -> bool {
    let named = jail.name.to_ascii_lowercase();
    let named = ["asterisk", "freepbx", "pbx-gui"].iter().any(|word| named.contains(word));
    named || jail.files.iter().any(|file| file.contains("/asterisk/"))
}

/// The same, where there are some.
fn some_jails(facts: &Facts) -> Seen<Vec<&Jail>> {
    let jails = jails(facts)?;
    if jails.is_empty() { Err("fail2ban has no jail for Asterisk".to_owned()) } else { Ok(jails) }
}

/// What the Asterisks of this host write their complaints to.
fn logs(facts: &Facts) -> Seen<Vec<&LogFile>> {
    let asterisks = at_home(facts).filter(|pbx| pbx.kind == Kind::Asterisk);
    let logs: Option<Vec<&Vec<LogFile>>> = asterisks.map(|pbx| pbx.logs.as_ref()).collect();
    let logs: Vec<&LogFile> =
        logs.ok_or("Asterisk could not be asked for its logs")?.into_iter().flatten().collect();
    if logs.is_empty() {
        Err("no Asterisk that writes logs runs here".to_owned())
    } else {
        Ok(logs)
    }
}

fn not_running(facts: &Facts) -> Outcome {
    Complaint::if_so(
        installed(facts)?.running.is_none(),
        Warning,
        "fail2ban is installed and does not answer: nobody who guesses passwords from a selected country is banned",
        "systemctl status fail2ban, or fail2ban-client -t, tells why",
    )
}

fn no_jail(facts: &Facts) -> Outcome {
    if !has_asterisk(facts) {
        return Err("no Asterisk runs here".to_owned());
    }
    let fail2ban = installed(facts)?;
    let jails = jails(facts)?;
    let running =
        |jail: &&&Jail| fail2ban.running.as_ref().is_none_or(|all| all.contains(&jail.name));
    Complaint::if_so(
        jails.iter().filter(running).count() == 0,
        Warning,
        "fail2ban has no jail for Asterisk that runs: it does not look at who guesses passwords there",
        "put `[asterisk]` with `enabled = true` into /etc/fail2ban/jail.local, then fail2ban-client reload",
    )
}

fn log_unread(facts: &Facts) -> Outcome {
    let (jails, logs) = (some_jails(facts)?, logs(facts)?);
    let telling: Vec<&str> =
        logs.iter().filter(|log| tells(log)).map(|log| log.path.as_str()).collect();
    let blind = jails.iter().filter(|jail| {
        !jail.journal && !jail.files.iter().any(|file| telling.contains(&file.as_str()))
    });
    Ok(blind.map(|jail| {
        let reads = match jail.files.as_slice() {
            [] => "no file, since none is there under the name it is configured with".to_owned(),
            files => files.join(" "),
        };
        let writes = if telling.is_empty() { "no file".to_owned() } else { telling.join(" ") };
        Complaint::new(
            Problem,
            format!("fail2ban's jail {} reads {reads}, and Asterisk writes its complaints to {writes}: nobody is ever banned", jail.name),
            format!("put `logpath = {}` into that jail in /etc/fail2ban/jail.local, then fail2ban-client reload", telling.first().unwrap_or(&"/var/log/asterisk/security.log")),
        )
    }).collect())
}

/// Whether failed attempts are told of in it.
fn tells(log: &LogFile) -> bool {
    log.writes("NOTICE") || log.writes("SECURITY")
}

fn counts_twice(facts: &Facts) -> Outcome {
    let (jails, logs) = (some_jails(facts)?, logs(facts)?);
    let twice = jails.iter().filter(|jail| {
        let read = logs.iter().filter(|log| jail.files.contains(&log.path));
        let lines =
            read.map(|log| usize::from(log.writes("NOTICE")) + usize::from(log.writes("SECURITY")));
        lines.sum::<usize>() > 1
    });
    Ok(twice.map(|jail| Complaint::new(
        Warning,
        format!("fail2ban's jail {} reads both the notices and the security events of Asterisk: one attempt counts two to eight times, so a phone with a wrong password is banned early", jail.name),
        "have Asterisk write its security events to a file of their own (`security.log => security` in logger.conf), and the jail read that one alone",
    )).collect())
}

/// Whom nobody must ban: trunks and registered devices.
fn friends(facts: &Facts) -> BTreeSet<IpNet> {
    let addresses = at_home(facts).flat_map(|pbx| {
        let trunks = pbx.trunk_addresses().into_iter().map(|trunk| trunk.ip());
        trunks.chain(pbx.registered_addresses())
    });
    let prefixes = at_home(facts).flat_map(crate::pbx::Pbx::identified_prefixes);
    addresses.map(IpNet::from).chain(prefixes).collect()
}

fn may_ban_friends(facts: &Facts) -> Outcome {
    let friends = friends(facts);
    let jails = some_jails(facts)?;
    let asks = |jail: &&&Jail| {
        let command = jail.ignore_command.as_deref().unwrap_or_default();
        command.contains("geofilter") && command.contains("protected")
    };
    let complaint = |jail: &&Jail| {
        let ignored = |friend: &&IpNet| jail.ignored.iter().any(|net| net.contains(*friend));
        let bare = friends.iter().filter(|friend| !ignored(friend)).count();
        (bare > 0).then(|| Complaint::new(
            Warning,
            format!("fail2ban's jail {} may ban {bare} of the {} addresses of trunks and registered devices: ten forged packets are enough", jail.name, friends.len()),
            "put `ignorecommand = geofilter protected <ip> --quiet` into that jail in /etc/fail2ban/jail.local, then fail2ban-client reload",
        ))
    };
    Ok(jails.iter().filter(|jail| !asks(jail)).filter_map(complaint).collect())
}

fn bans_friends(facts: &Facts) -> Outcome {
    let fail2ban = installed(facts)?;
    if fail2ban.running.is_none() {
        return Err("fail2ban does not run".to_owned());
    }
    let friends = friends(facts);
    let is_friend = |address: &&IpAddr| {
        let known = friends.iter().any(|friend| friend.contains(*address));
        known || fail2ban.protected.contains(address)
    };
    let banned: BTreeSet<&IpAddr> = fail2ban.banned.iter().filter(is_friend).collect();
    Ok(banned.iter().map(|address| Complaint::new(
        Problem,
        format!("fail2ban bans {address} now, which is a trunk, a registered device, a peer or exempt: GeoFilter lets it pass, and fail2ban's rules drop it after that"),
        format!("fail2ban-client unban {address}; then see fail2ban-may-ban-friends"),
    )).collect())
}

fn table_missing(facts: &Facts) -> Outcome {
    let fail2ban = installed(facts)?;
    let jails = fail2ban.jails.as_ref().map_err(Clone::clone)?;
    let uses_nft = |jail: &Jail| jail.actions.iter().any(|action| action.contains("nftables"));
    if fail2ban.banned.is_empty() || !jails.iter().any(uses_nft) {
        return Err("fail2ban bans nobody by nftables now".to_owned());
    }
    if let Some(why) = unlisted(facts) {
        return Err(why);
    }
    let there = facts.detected.surroundings.firewalls.iter().any(|it| it.owner == Some("fail2ban"));
    Complaint::if_so(
        !there,
        Problem,
        format!(
            "fail2ban holds {} addresses banned, and its nftables table is gone (`nft flush ruleset` does that): they pass, and only new offenders are banned again",
            fail2ban.banned.len()
        ),
        "fail2ban-client reload --restart, and have whatever loads the ruleset restart fail2ban after it",
    )
}

fn bans_unenforced(facts: &Facts) -> Outcome {
    let jails = installed(facts)?.jails.as_ref().map_err(Clone::clone)?;
    let is_ours = |action: &String| action.starts_with("geofilter");
    let alone = jails.iter().filter(|it| !it.actions.is_empty() && it.actions.iter().all(is_ours));
    let enforces = |state| matches!(state, State::Enforcing | State::Pending);
    let status = facts.agent.status.as_ref().map_err(Clone::clone)?;
    let enforced = status.as_ref().is_some_and(|status| enforces(status.state));
    Ok(alone
        .filter(|_| !enforced)
        .map(|jail| {
            Complaint::new(
                Problem,
                format!("fail2ban's jail {} bans by GeoFilter alone, which drops nothing now: nobody is kept out", jail.name),
                "`geofilter allow CC...` enforces a policy and the bans; or keep the stock action beside GeoFilter's, see docs/fail2ban.md",
            )
        })
        .collect())
}

fn blind_to_floods(facts: &Facts) -> Outcome {
    let jails = some_jails(facts)?;
    Complaint::if_so(
        !jails.is_empty(),
        Note,
        "fail2ban sees no flood without credentials: Asterisk only challenges it, and logs nothing that the jail matches",
        "nothing has to be done; a policy stops those from elsewhere, and a limit of rates in the firewall those from the selected countries",
    )
}
