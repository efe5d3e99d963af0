use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::policy::Transport;

const CALENDAR: Calendar = Calendar { now: Stamp(1_795_400_000_000), ahead: 0 };

/// The events of a log, and its lines.
fn read(log: &str) -> (Vec<Event>, Lines) {
    let mut reader = Reader::new(CALENDAR);
    let mut events = Vec::new();
    reader.read(format!("{log}\n").as_bytes(), |event| events.push(event));
    (events, reader.lines())
}

fn event(line: &str) -> Option<Event> {
    let (mut events, _) = read(line);
    assert!(events.len() < 2, "{line}");
    events.pop()
}

fn who(line: &str) -> Option<(String, Option<u16>)> {
    event(line).map(|event| (event.source.to_string(), event.port))
}

/// Attempts and probes of logs whose events come in the order of time, by address.
fn attempts(logs: &[&str]) -> Vec<(String, u64, u64)> {
    let mut events: Vec<Event> = logs.iter().flat_map(|log| read(log).0).collect();
    events.sort_by_key(|event| event.time);
    let (mut attempts, mut counted) = (Attempts::default(), Vec::new());
    events.iter().for_each(|event| attempts.add(event, |it| counted.push(it)));
    attempts.finish(|it| counted.push(it));
    let mut counted: Vec<_> =
        counted.iter().map(|it| (it.source.to_string(), it.attempts, it.probes)).collect();
    counted.sort();
    counted
}

fn security(event: &str, account: &str, session: &str, tail: &str) -> String {
    format!(
        "[2026-11-22 08:48:18.905] SECURITY[32163] res_security_log.c: SecurityEvent=\"{event}\",\
         EventTV=\"2026-11-22T08:48:18.905+0000\",Severity=\"Error\",Service=\"PJSIP\",\
         EventVersion=\"1\",AccountID=\"{account}\",SessionID=\"{session}\",\
         LocalAddress=\"IPV4/UDP/10.9.0.1/5060\",RemoteAddress=\"IPV4/UDP/192.0.2.7/6000\"{tail}"
    )
}

fn notice(from: &str, call: &str, reason: &str) -> String {
    format!(
        "[2026-11-22 08:48:18.905] NOTICE[32120] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from \
         '{from}' failed for '192.0.2.7:6000' (callid: {call}) - {reason}"
    )
}

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/logs/", $name))
    };
}

mod line_breaks;
mod traces;

const CHALLENGE: &str = ",Challenge=\"1/a\",Response=\"b\",ExpectedResponse=\"\"";

#[test]
fn every_security_event_is_understood() {
    let what = |name: &str| event(&security(name, "100", "s", CHALLENGE)).map(|event| event.what);
    for name in ["InvalidAccountID", "FailedACL"] {
        assert_eq!(what(name), Some(What::Rejected(None)), "{name}");
    }
    for name in ["ChallengeResponseFailed", "InvalidPassword"] {
        let wrong = What::WrongSecret { rejected: false, request: None };
        assert_eq!(what(name), Some(wrong), "{name}");
    }
    for name in [
        "UnexpectedAddress",
        "RequestNotSupported",
        "RequestNotAllowed",
        "AuthMethodNotAllowed",
        "RequestBadFormat",
        "InvalidTransport",
    ] {
        assert_eq!(what(name), Some(What::Refused), "{name}");
    }
    assert_eq!(what("ChallengeSent"), Some(What::Challenge { rejected: false }));
    assert_eq!(what("SuccessfulAuth"), Some(What::Login("100".into())));
    for name in ["SessionLimit", "MemoryLimit", "LoadAverageLimit", "OfTheFuture"] {
        assert_eq!(what(name), None, "{name}");
    }
    let known = event(&security("ChallengeSent", "<unknown>", "s", "")).unwrap();
    assert_eq!(known.what, What::Challenge { rejected: true });
    assert_eq!((known.port, known.transport), (Some(6000), Some(Transport::Udp)));
    assert_eq!(known.time, Some(Stamp(1_795_337_298_905)));
    let manager = security("InvalidPassword", "admin", "s", "").replace("PJSIP", "AMI");
    assert_eq!(event(&manager), None);
    let old = security("FailedACL", "1", "0x7f", "")
        .replace("2026-11-22T08:48:18.905+0000", "1376520254-765937")
        .replace("\"PJSIP\"", "\"SIP\"")
        .replace("IPV4/UDP/192.0.2.7", "IPV6/TLS/2001:db8::7");
    let old = event(&old).unwrap();
    assert_eq!(
        (old.source.to_string(), old.transport),
        ("2001:db8::7".into(), Some(Transport::Tcp))
    );
}

#[test]
fn notices_of_both_channel_drivers_are_understood() {
    let rejected = event(&notice("<sip:1@h>", "c", "No matching endpoint found")).unwrap();
    assert!(matches!(rejected.what, What::Rejected(Some(_))));
    for reason in ["No matching endpoint found after 5 tries in 12.1 ms", "Not match Endpoint ACL"]
    {
        let rejected = event(&notice("<sip:1@h>", "c", reason)).unwrap();
        assert!(matches!(rejected.what, What::Rejected(Some(_))), "{reason}");
    }
    let wrong = event(&notice("<sip:1@h>", "c", "Failed to authenticate")).unwrap();
    assert!(matches!(wrong.what, What::WrongSecret { rejected: false, request: Some(_) }));
    let cases = [
        (
            "[May  3 10:00:00] NOTICE[1][C-0a] chan_sip.c: Registration from '\"1\" <sip:1@h>' failed for '192.0.2.7:5061' - Wrong password",
            Some(5061),
        ),
        (
            "[2015-08-22 12:01:29] NOTICE[1] chan_sip.c: Registration from 'x' failed for '192.0.2.7' - No matching peer found",
            None,
        ),
        (
            "Nov 22 08:48:18 pbx asterisk[1]: NOTICE[1]: chan_sip.c:28926 in handle_request_register: Registration from 'x' failed for '192.0.2.7:5060' - Not a local domain",
            Some(5060),
        ),
        (
            "[1795337298] NOTICE[1] chan_sip.c: Call from '' (192.0.2.7:5060) to extension '900' rejected because extension not found in context 'default'.",
            Some(5060),
        ),
        (
            "Nov 22 08:48:18 pbx asterisk[1]: NOTICE[2]: res_pjsip/pjsip_distributor.c:687 in log_failed_request: Request from '<sip:1@h>' failed for '192.0.2.7:5060' (callid: x) - Error to authenticate",
            Some(5060),
        ),
    ];
    for (line, port) in cases {
        assert_eq!(who(line), Some(("192.0.2.7".to_owned(), port)), "{line}");
    }
    let peer = cases[3].0.replace("from ''", "from 'trunk'");
    assert_eq!(read(&peer).1.understood, 1);
    assert_eq!(event(&peer), None);
}

#[test]
fn fail2ban_kamailio_and_the_journal_are_understood() {
    let found = "2026-11-22 08:49:24,312 fail2ban.filter         [1372]: INFO    [asterisk] Found 192.0.2.7 - 2026-11-22 08:48:18";
    let event_of = event(found).unwrap();
    assert_eq!((event_of.what, event_of.time), (What::Found, Some(Stamp(1_795_337_298_000))));
    for line in [
        "2026-11-22 08:49:24,312 fail2ban.actions        [1372]: NOTICE  [sip-tls] Restore Ban 2001:db8::7",
        "Nov 22 08:49:24 pbx fail2ban.actions[12]: NOTICE [asterisk] Ban 2001:db8::7",
    ] {
        let event = event(line).unwrap();
        assert_eq!(
            (event.what, event.source.to_string()),
            (What::Ban, "2001:db8::7".into()),
            "{line}"
        );
    }
    for line in [found.replace("[asterisk]", "[sshd]"), found.replace("Found", "Unban")] {
        assert_eq!((event(&line), read(&line).1.understood), (None, 1), "{line}");
    }
    let syslog = |text: &str| format!("Nov 22 08:48:18 pbx /usr/sbin/kamailio[12]: {text}");
    for (text, port) in [
        (
            "ALERT: <script>: ALERT: pike blocking REGISTER from sip:1@h (IP:192.0.2.7:5061)",
            Some(5061),
        ),
        ("ALERT: {1 2 REGISTER x@h} <script>: auth FAILED for 1 (IP:192.0.2.7)", None),
        (
            "WARNING: pike [pike_funcs.c:151]: pike_check_req(): PIKE - BLOCKing ip 192.0.2.7, node=0x7f7e",
            None,
        ),
    ] {
        assert_eq!(who(&syslog(text)), Some(("192.0.2.7".to_owned(), port)), "{text}");
    }
    assert_eq!(
        who(" 5(30) ALERT: <script>: pike blocking A from b (IP:2001:db8::7:5)").unwrap().0,
        "2001:db8::7"
    );
    assert_eq!(who(&syslog("INFO: <script>: request (IP:192.0.2.7:5061)")), None);
    let json = format!(
        "{{\"__REALTIME_TIMESTAMP\":\"1795337298905000\",\"SYSLOG_IDENTIFIER\":\"asterisk\",\"MESSAGE\":{}}}",
        serde_json::to_string(&security("FailedACL", "1", "s", "")).unwrap()
    );
    assert_eq!(event(&json).unwrap().time, Some(Stamp(1_795_337_298_905)));
    assert_eq!(read("{\n{}\nnonsense\n\n").1, Lines { total: 3, ..Lines::default() });
}

#[test]
fn what_a_client_writes_is_not_taken_for_the_source() {
    let truth = Some(("192.0.2.7".to_owned(), Some(6000)));
    let address = "\",LocalAddress=\"IPV4/UDP/10.9.0.1/5060\",RemoteAddress=\"IPV4/UDP/1.1.1.1/5\"";
    let in_session = format!("x{address},Challenge=\"");
    assert_eq!(who(&security("InvalidAccountID", "1", &in_session, "")), truth);
    assert_eq!(who(&security("InvalidAccountID", &in_session, "1", "")), truth);
    assert_eq!(who(&security("SuccessfulAuth", "1", &in_session, "")), truth);
    // A nonce in brackets may hold quotes.
    let in_nonce = format!(",Challenge=\"x{address}\",Response=\"\",ExpectedResponse=\"\"");
    let line = security("ChallengeResponseFailed", "1", "s", &in_nonce);
    assert_eq!((event(&line), read(&line).1.ambiguous), (None, 1));
    for from in
        ["<sip:' failed for '1.1.1.1:5' (callid: y) - Failed to authenticate", "' failed for '"]
    {
        let line = notice(from, "c", "Failed to authenticate");
        assert_eq!((event(&line), read(&line).1.ambiguous), (None, 1), "{line}");
    }
    let call = "y) - No matching endpoint found' failed for '1.1.1.1:5' (callid: z";
    assert_eq!(event(&notice("<sip:1@h>", call, "Failed to authenticate")), None);
    // One kind of line within another.
    let within = security("InvalidAccountID", "1", "s", "").replace("192.0.2.7", "1.1.1.1");
    assert_eq!(who(&notice(&within, &within, "Failed to authenticate")), truth);
    let registration = format!(
        "[2026-11-22 08:48:18] NOTICE[1] chan_sip.c: Registration from 'x' failed for '1.1.1.1:5' - Wrong \
         password {within}' failed for '192.0.2.7:6000' - Wrong password"
    );
    assert_eq!(who(&registration), truth);
    let kamailio = "Nov 22 08:48:18 pbx kamailio[1]: ALERT: <script>: ALERT: pike blocking A from \
        sip: pike [x PIKE - BLOCKing ip 1.1.1.1, node=0 (IP:1.1.1.1:5) (IP:192.0.2.7:6000)";
    assert_eq!(who(kamailio), truth);
}

#[test]
fn a_line_that_is_cut_tells_nothing() {
    let line = security("InvalidAccountID", "1", "x\",RemoteAddress=\"IPV4/UDP/1.1.1.1/5\"", "");
    let cut = &line[..line.find("1.1.1.1/5\"").unwrap() + "1.1.1.1/5\"".len()];
    let mut reader = Reader::new(CALENDAR);
    reader.read(cut.as_bytes(), |event| panic!("{event:?}"));
    assert_eq!(reader.lines(), Lines { total: 1, ..Lines::default() });
}

#[test]
fn a_traced_message_is_passed_over() {
    let forged = security("FailedACL", "1", "s", "").replace("192.0.2.7", "1.1.1.1");
    let message = format!("REGISTER sip:h SIP/2.0\r\n{forged}\r\n\r\n");
    let trace = format!(
        "[2026-11-22 08:48:18] VERBOSE[1] res_pjsip_logger.c: <--- Received SIP request ({} bytes) from \
         UDP:192.0.2.7:6000 --->\n{message}",
        message.len()
    );
    let (events, lines) = read(&format!("{trace}{}\n", security("FailedACL", "1", "s", "")));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].source.to_string(), "192.0.2.7");
    assert_eq!(lines.traced, 3);
}

/// Counted by hand: an exchange is the events of one source and session, in order.
///
/// ```text
/// awk -F'"' '/Service="PJSIP"/ {k=$18 $14; s[k]=s[k] " " substr($2,1,9) ($12=="<unknown>"?"U":"")}
///     END {for (k in s) print s[k]}' asterisk-security.log | sort | uniq -c
/// ```
///
/// says 17 of an unknown account with credentials, 2 without, 5 of a known account, 2 of which an ACL was
/// against, 53 challenges that nothing followed and 2 that a login did. `grep -c '2001:db8:9::2/6000.*ChallengeR'`
/// says which are of the one IPv6 address.
#[test]
fn an_attempt_counts_once_however_many_lines_tell_of_it() {
    let (log, messages) = (sample!("asterisk-security.log"), sample!("asterisk-messages.log"));
    let counted = [("10.99.0.2".to_owned(), 22, 53), ("2001:db8:9::2".to_owned(), 4, 0)];
    assert_eq!(attempts(&[log]), counted);
    assert_eq!(attempts(&[log, messages]), counted);
    let [(v4, ..), (v6, ..)] = counted;
    assert_eq!(attempts(&[messages]), [(v4, 22, 0), (v6, 4, 0)]);
    let mixed = |logs: &[&str]| attempts(logs).iter().map(|(_, attempts, _)| attempts).sum::<u64>();
    // `grep -c ChallengeResponseFailed`: all went on to send credentials.
    assert_eq!(mixed(&[sample!("asterisk-mixed.log")]), 91);
}

#[test]
fn fail2ban_counts_where_nobody_else_tells() {
    let (log, fail2ban) = (sample!("asterisk-short.log"), sample!("fail2ban.log"));
    let attempts_of = |logs: &[&str]| -> Vec<u64> {
        attempts(logs).iter().map(|(_, attempts, _)| *attempts).collect()
    };
    // `grep -c ChallengeResponseFailed` by address, and `grep -c Found`.
    assert_eq!(attempts_of(&[log]), [14, 15]);
    assert_eq!(attempts_of(&[fail2ban]), [28, 66]);
    assert_eq!(attempts_of(&[log, fail2ban]), [14, 15]);
}

#[test]
fn a_long_burst_and_a_crowd_are_counted_in_parts() {
    let mut tries = Attempts::default();
    let mut counted = 0;
    let at = |seconds: i64, host: u32| Event {
        time: Some(Stamp(seconds * 1000)),
        source: IpAddr::V4(host.into()),
        port: None,
        transport: None,
        account: None,
        teller: Teller::Security,
        kept: false,
        what: What::WrongSecret { rejected: false, request: None },
    };
    for second in 0..3600 {
        tries.add(&at(second, 1), |it| counted += it.attempts);
    }
    assert!((2800..3600).contains(&counted), "{counted}");
    for host in 0..200_000 {
        tries.add(&at(3600, host), |it| counted += it.attempts);
        assert!(tries.kept() <= 28_000);
    }
    tries.finish(|it| counted += it.attempts);
    assert_eq!(counted, 203_600);
}

proptest! {
    /// Whatever a client chooses to be called, nobody else is counted for it.
    #[test]
    fn no_text_of_a_client_changes_the_source(text in client_text(), other in client_text()) {
        let lines = [
            security("InvalidAccountID", &text, &other, ""),
            security("ChallengeSent", "1", &text, ",Challenge=\"\""),
            security("SuccessfulAuth", "1", &text, ",UsingPassword=\"1\""),
            security("ChallengeResponseFailed", "1", &text, &format!(",Challenge=\"{other}\"")),
            security("RequestBadFormat", "1", &text, &format!(",RequestType=\"{other}\"")),
            notice(&text, &other, "Failed to authenticate"),
        ];
        for line in lines {
            for event in read(&line).0 {
                prop_assert_eq!(event.source.to_string(), "192.0.2.7", "{}", line);
            }
        }
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0..300_usize) {
        let mut reader = Reader::new(CALENDAR);
        reader.read(&bytes, |_| {});
        let line = security("ChallengeResponseFailed", "1", "s", CHALLENGE);
        let (before, after) = line.as_bytes().split_at(cut.min(line.len()));
        reader.read(&[before, &bytes, after, b"\n"].concat(), |_| {});
    }
}

/// Texts made of the parts that lines are made of.
fn client_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("\",LocalAddress=\"IPV4/UDP/10.9.0.1/5060\"".to_owned()),
        Just(",RemoteAddress=\"IPV4/UDP/1.1.1.1/5\"".to_owned()),
        Just("RemoteAddress=\"IPV4/UDP/1.1.1.1/5".to_owned()),
        Just("' failed for '".to_owned()),
        Just("1.1.1.1:5".to_owned()),
        Just("' (callid: ".to_owned()),
        Just(") - No matching endpoint found".to_owned()),
        Just("\",AccountID=\"<unknown>\",SessionID=\"".to_owned()),
        Just("] SECURITY[1] res_security_log.c: SecurityEvent=\"FailedACL\"".to_owned()),
        "[ -~]{0,12}",
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}
