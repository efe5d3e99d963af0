//! [`Kept`]: a ban as fail2ban's database keeps it, with the lines that led to it. Those lines are of logs that
//! may be read as well, so their events are [marked](Event::kept) and count beside these, not on top.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::fail2ban::guards_a_phone_system;
use super::{Calendar, Event, Lines, Reader, Stamp, Teller, What};

/// How many lines of a ban are read. fail2ban keeps ten unless told otherwise.
const MOST_LINES: usize = 100;
/// A line that is longer is passed over.
const LONGEST: usize = 8192;
/// How many failures are believed where no line is kept.
const MOST_FAILURES: u64 = 1000;

/// A row of the tables `bans` and `bips`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The jail.
    pub jail: &'a str,
    /// Who was banned, as text.
    pub ip: &'a str,
    /// When, in seconds since 1970.
    pub time: i64,
    /// JSON: the lines, and how many failures there were.
    pub data: &'a [u8],
}

#[derive(Deserialize, Default)]
struct Data {
    #[serde(default)]
    matches: Value,
    #[serde(default)]
    failures: Value,
}

/// Whether a jail of this name guards a phone system.
pub fn is_of_phones(jail: &str) -> bool {
    guards_a_phone_system(jail.as_bytes())
}

impl Kept<'_> {
    /// Tells of the attempts that led to the ban, then of the ban. `None` if the row is about nobody.
    pub fn read(&self, calendar: Calendar, mut tell: impl FnMut(Event)) -> Option<Lines> {
        let source: IpAddr = self.ip.parse().ok()?;
        let source = source.to_canonical();
        let time = self.time.checked_mul(1000)?.checked_add(calendar.ahead)?;
        let time = Some(Stamp(time));
        // What it holds may be cut or odd; then the ban is all there is to tell.
        let data: Data = serde_json::from_slice(self.data).unwrap_or_default();
        let mut lines = Lines { total: 1, understood: 1, ..Lines::default() };
        let mut told = false;
        for line in data.matches.as_array().into_iter().flatten().take(MOST_LINES) {
            let Some(mut line) = text(line).filter(|it| is_one_line(it)) else { continue };
            line.push('\n');
            let mut reader = Reader::new(calendar);
            reader.read(line.as_bytes(), |event| {
                if event.source == source && is_refusal(&event.what) {
                    told = true;
                    tell(Event { time: event.time.or(time), kept: true, ..event });
                }
            });
            lines.ambiguous += reader.lines().ambiguous;
        }
        let failures = data.failures.as_u64().unwrap_or_default().min(MOST_FAILURES);
        let by_fail2ban = |what| Event {
            time,
            source,
            port: None,
            transport: None,
            account: None,
            teller: Teller::Fail2ban,
            kept: true,
            what,
        };
        if !told {
            (0..failures).for_each(|_| tell(by_fail2ban(What::Found)));
        }
        tell(by_fail2ban(What::Ban));
        Some(lines)
    }
}

/// A line, or the parts before, of and behind its time.
fn text(line: &Value) -> Option<String> {
    match line {
        Value::String(line) => Some(line.clone()),
        Value::Array(parts) => {
            parts.iter().map(Value::as_str).collect::<Option<Vec<&str>>>().map(|it| it.concat())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn is_one_line(text: &str) -> bool {
    text.len() <= LONGEST && !text.contains('\n')
}

fn is_refusal(what: &What) -> bool {
    match what {
        What::Rejected(_) | What::WrongSecret { .. } | What::Refused => true,
        What::Challenge { .. } | What::Login(_) | What::Found | What::Ban => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Attempts;

    const CALENDAR: Calendar = Calendar { now: Stamp(1_795_400_000_000), ahead: 0 };
    const NOTICE: &str = "[2026-11-22 09:04:25.019] NOTICE[1] res_pjsip/pjsip_distributor.c: Request 'REGISTER' \
        from '<sip:8103@h>' failed for '95.181.172.79:5068' (callid: c) - Failed to authenticate";

    fn events(data: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let kept = Kept {
            jail: "asterisk",
            ip: "95.181.172.79",
            time: 1_795_338_265,
            data: data.as_bytes(),
        };
        kept.read(CALENDAR, |event| events.push(event)).unwrap();
        events
    }

    fn data(lines: &[&str], failures: u64) -> String {
        serde_json::json!({"matches": lines, "failures": failures}).to_string()
    }

    #[test]
    fn kept_lines_tell_of_attempts_and_failures_where_there_are_none() {
        let whats = |data: &str| -> Vec<bool> {
            events(data).iter().map(|event| is_refusal(&event.what)).collect()
        };
        assert_eq!(whats(&data(&[NOTICE, NOTICE], 10)), [true, true, false]);
        // As fail2ban keeps a line whose time it knows.
        let (before, rest) = NOTICE.split_at(1);
        let (time, after) = rest.split_at(23);
        let parts = serde_json::json!({"matches": [[before, time, after]]}).to_string();
        assert_eq!(events(&parts)[0].time, Some(Stamp(1_795_338_265_019)));
        assert_eq!(events(&parts)[0].teller, Teller::Notices);
        let found = events(&data(&[], 10));
        assert_eq!(found.iter().filter(|event| event.what == What::Found).count(), 10);
        assert_eq!(events(&data(&[], u64::MAX)).len(), 1001);
    }

    #[test]
    fn nothing_in_a_row_speaks_of_others() {
        let other = NOTICE.replace("95.181.172.79", "1.1.1.1");
        let login = NOTICE.replace("Failed to authenticate", "x");
        let two = format!("{NOTICE}\n{other}");
        let long = format!("{NOTICE}{}", "x".repeat(LONGEST));
        for lines in [&other, &two, &long, "{}", ""] {
            assert_eq!(events(&data(&[lines], 0)).len(), 1, "the ban alone: {lines}");
        }
        assert_eq!(events(&data(&[&login], 0)).len(), 2, "however it was refused");
        for data in
            ["", "null", "[]", "{\"matches\": 7, \"failures\": -1}", "{\"matches\": [1, [2]]}"]
        {
            assert_eq!(events(data).len(), 1, "{data}");
        }
        let many = vec![NOTICE; 500];
        assert_eq!(events(&data(&many, 0)).len(), MOST_LINES + 1);
        for (ip, time) in [("nobody", 1), ("192.0.2.0/24", 1), ("192.0.2.1", i64::MAX)] {
            let kept = Kept { jail: "asterisk", ip, time, data: b"{}" };
            assert_eq!(kept.read(CALENDAR, |event| panic!("{event:?}")), None);
        }
    }

    #[test]
    fn what_a_log_tells_as_well_counts_once() {
        let counted = |events: &[Event]| {
            let (mut attempts, mut counted) = (Attempts::default(), 0);
            events.iter().for_each(|event| attempts.add(event, |it| counted += it.attempts));
            attempts.finish(|it| counted += it.attempts);
            counted
        };
        let kept = events(&data(&[NOTICE, NOTICE], 10));
        let mut logged = Vec::new();
        let mut reader = Reader::new(CALENDAR);
        reader.read(format!("{NOTICE}\n").repeat(3).as_bytes(), |event| logged.push(event));
        assert_eq!((counted(&kept), counted(&logged)), (2, 3));
        assert_eq!(counted(&[kept.clone(), logged].concat()), 3);
        let found = events(&data(&[], 10));
        let by_log: Vec<Event> =
            found.iter().map(|event| Event { kept: false, ..event.clone() }).take(8).collect();
        assert_eq!(counted(&[found, by_log].concat()), 10);
    }
}
