//! What else has a say about packets on this host.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use geofilter_core::surroundings::{self, Fail2ban, Firewall, Surroundings};
use geofilter_dataplane::programs;
use procfs::process::all_processes;

use super::program::run;

/// How long another program may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks around; what can't be seen goes into the notes. Returns who is banned as well.
pub(super) fn look(notes: &mut Vec<String>) -> (Surroundings, Vec<IpAddr>) {
    let mut found = Surroundings::default();
    let mut banned = Vec::new();
    for words in command_lines() {
        found.crowdsec |= names(&words, &["crowdsec"]);
        found.forwards.extend(surroundings::docker_proxy(&words));
        if names(&words, &["fail2ban-server"]) && found.fail2ban.is_none() {
            let (fail2ban, addresses) = fail2ban(notes);
            found.fail2ban = Some(fail2ban);
            banned = addresses;
        }
    }
    nftables(&mut found, notes);
    found.firewalls.extend(legacy_tables());
    match programs::others() {
        Ok(programs) => found.programs = programs,
        Err(error) => {
            notes.push(format!("the programs on the interfaces can't be listed: {error}"))
        }
    }
    (found, banned)
}

fn command_lines() -> impl Iterator<Item = Vec<String>> {
    let processes = all_processes().into_iter().flatten().filter_map(Result::ok);
    processes.filter_map(|process| process.cmdline().ok())
}

/// Whether one of the first words, since a script comes after its interpreter, is one of these programs.
fn names(words: &[String], programs: &[&str]) -> bool {
    let base = |word: &String| word.rsplit('/').next().unwrap_or_default().to_owned();
    words.iter().take(2).any(|word| programs.contains(&base(word).as_str()))
}

fn fail2ban(notes: &mut Vec<String>) -> (Fail2ban, Vec<IpAddr>) {
    let ask = |word| {
        run("fail2ban-client", &[word], PATIENCE)
            .map(|said| String::from_utf8_lossy(&said).into_owned())
    };
    match ask("status") {
        Ok(status) => {
            let banned = ask("banned").map(|said| surroundings::banned(&said)).unwrap_or_default();
            (Fail2ban { jails: surroundings::jails(&status) }, banned)
        }
        Err(why) => {
            notes.push(format!("fail2ban runs, and its jails can't be listed: {why}"));
            (Fail2ban::default(), Vec::new())
        }
    }
}

fn nftables(found: &mut Surroundings, notes: &mut Vec<String>) {
    let ruleset = run("nft", &["-j", "list", "ruleset"], PATIENCE);
    let read = |json: Vec<u8>| surroundings::nft(&json).map_err(|error| error.to_string());
    match ruleset.and_then(read) {
        Ok((firewalls, forwards)) => {
            found.firewalls.extend(firewalls);
            found.forwards.extend(forwards);
        }
        Err(why) => notes.push(format!("the nftables of this host can't be listed: {why}")),
    }
}

/// The tables of iptables from before nftables; their rules can't be read as these can.
fn legacy_tables() -> Vec<Firewall> {
    let mut tables = Vec::new();
    for (file, tool) in [("ip_tables_names", "iptables"), ("ip6_tables_names", "ip6tables")] {
        let names = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        tables.extend(names.lines().map(|name| Firewall {
            name: format!("{tool} (legacy) {name}"),
            owner: None,
            large_sets: Vec::new(),
        }));
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_behind_its_interpreter() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(names(
            &words("/usr/bin/python3 /usr/bin/fail2ban-server -xf"),
            &["fail2ban-server"]
        ));
        assert!(names(&words("/usr/bin/crowdsec -c x"), &["crowdsec"]));
        assert!(!names(&words("vim -o /etc/crowdsec"), &["crowdsec"]));
    }
}
