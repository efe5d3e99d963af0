//! [`jails`]: what `fail2ban-client -d` tells of the jails, as fail2ban itself read its configuration.
//!
//! Each line is a Python list. Actions may hold secrets of their own; nothing of them is kept but their
//! names.

use ipnet::IpNet;

use super::facts::Jail;
use crate::pbx::{MOST, printable};

/// The jails that are to be started.
pub fn jails(dump: &str) -> Vec<Jail> {
    let mut jails: Vec<Jail> = Vec::new();
    for line in dump.lines().take(MOST) {
        let words = strings(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["add", name, backend] => jails.push(Jail {
                name: printable(name),
                journal: *backend == "systemd",
                ..Jail::default()
            }),
            ["set", name, rest @ ..] => {
                if let Some(jail) = jails.iter_mut().find(|jail| jail.name == *name) {
                    set(jail, rest);
                }
            }
            _ => {}
        }
    }
    jails
}

fn set(jail: &mut Jail, words: &[&str]) {
    match words {
        ["addlogpath", path, ..] => jail.files.push(printable(path)),
        ["addignoreip", prefixes @ ..] => {
            jail.ignored.extend(prefixes.iter().filter_map(|text| prefix(text)));
        }
        ["ignorecommand", command] => jail.ignore_command = Some(printable(command)),
        ["addaction", name, ..] => jail.actions.push(printable(name)),
        _ => {}
    }
}

fn prefix(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

/// The strings of a Python list. Not for lists in lists: of those the first strings are enough.
fn strings(line: &str) -> Vec<String> {
    /// More than any line has that matters here.
    const WORDS: usize = 10_000;
    let mut words = Vec::new();
    let mut letters = line.chars();
    while let Some(quote) = letters.find(|letter| matches!(letter, '\'' | '"')) {
        let mut word = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                _ if letter == quote => break,
                '\\' => word.extend(letters.next()),
                _ => word.push(letter),
            }
        }
        words.push(word);
        if words.len() == WORDS {
            break;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From fail2ban 1.0.2.
    const DUMP: &str = r#"['set', 'syslogsocket', 'auto']
['set', 'dbfile', '/var/lib/fail2ban/fail2ban.sqlite3']
['add', 'asterisk', 'auto']
['set', 'asterisk', 'usedns', 'warn']
['multi-set', 'asterisk', 'addfailregex', ["^Registration from '[^']*' failed for '<HOST>(:\\d+)?'"]]
['set', 'asterisk', 'maxretry', 10]
['set', 'asterisk', 'ignorecommand', '/usr/bin/geofilter protected <ip> --quiet']
['set', 'asterisk', 'addignoreip', '127.0.0.1/8', '10.0.0.7', '2001:db8::/32', 'trunk.example']
['set', 'asterisk', 'addlogpath', '/var/log/asterisk/messages', 'head']
['set', 'asterisk', 'addlogpath', '/var/log/it\'s', 'head']
['set', 'asterisk', 'addaction', 'nftables-multiport-tcp']
['multi-set', 'asterisk', 'action', 'nftables-multiport-tcp', [['actionstart', "nft 'x'"], ['apikey', 'Secret']]]
['add', 'sshd', 'systemd']
['start', 'asterisk']"#;

    #[test]
    fn jails_are_read_as_fail2ban_dumps_them() {
        let jails = jails(DUMP);
        let names: Vec<_> = jails.iter().map(|jail| (jail.name.as_str(), jail.journal)).collect();
        assert_eq!(names, [("asterisk", false), ("sshd", true)]);
        let jail = &jails[0];
        assert_eq!(jail.files, ["/var/log/asterisk/messages", "/var/log/it's"]);
        let ignored: Vec<_> = jail.ignored.iter().map(ToString::to_string).collect();
        assert_eq!(ignored, ["127.0.0.1/8", "10.0.0.7/32", "2001:db8::/32"]);
        assert_eq!(
            jail.ignore_command.as_deref(),
            Some("/usr/bin/geofilter protected <ip> --quiet")
        );
        assert_eq!(jail.actions, ["nftables-multiport-tcp"]);
        assert!(!format!("{jails:?}").contains("Secret"));
        assert_eq!(super::jails("['add'\n[['\n'\"\\"), []);
    }
}
