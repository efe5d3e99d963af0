//! What a client can do that writes line breaks into Asterisk's log.

use super::*;

/// As Asterisk wrote it: four requests of two clients whose names begin with a line break, the first two to blame
/// 8.8.8.8, the others to have logged in.
const RECORDED: &str = sample!("asterisk-line-breaks.log");

/// What Asterisk writes for a request whose user, unescaped, and Call-ID are these, with the time as it is configured.
fn record(time: &str, user: &str, call: &str) -> String {
    let user: String = user.chars().take(36).collect();
    let event = |line: &str| format!("{time}{}", &line[line.find("] ").unwrap() + 2..]);
    let lines = [
        event(&notice("<sip:escaped@h>", call, "No matching endpoint found")),
        event(&security("InvalidAccountID", &user, call, "")),
        event(&security("ChallengeSent", "<unknown>", call, ",Challenge=\"\"")),
    ];
    lines.join("\n")
}

const TIMES: [&str; 3] = ["[2026-11-22 08:48:18.905] ", "[Nov 22 08:48:18] ", "[1795337298] "];

/// The same as something that captures each line of the console writes it.
fn captured(log: &str) -> String {
    let lines = log.lines().map(|line| format!("Nov 22 08:48:18 pbx asterisk[1]: {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Beginnings of lines that would tell something if the Call-ID went on with them, and whole ones.
const BEGINNINGS: [&str; 16] = [
    "\n[1795337298] NOTICE[1] chan_sip.c:1",
    "\n[1795337298] NOTICE[1] chan_sip.c: ",
    "\nNOTICE[1] chan_sip.c:1 in f: ",
    "\nNOTICE[1] chan_sip.c:Call from '' (",
    "\nSECURITY[1] res_security_log.c:1",
    "\nDEBUG[1] res_pjsip_logger.c:<--- ",
    "\n2026-11-22 08:49:24fail2ban.filter ",
    "\n2026-11-22 08:49:24 fail2ban.filter",
    "\nfail2ban.actions [1]: INFO [sip] ",
    "\n1() A<script>: authfail(IP:2001::)\n",
    "\n1(1) INFO: x\n",
    "\nNov 22 08:48:18 p kamailio: ",
    "\nNov 22 08:48:18 p a: x\n",
    "\n{\"MESSAGE\":\"b\\",
    "\",RemoteAddress=\"IPV4//8.8.8.8/1\"\n",
    "\",RemoteAddress=\"IPV6/UDP/1::1/1\"\n",
];

const CALLS: [&str; 9] = [
    "x: Registration from 'a' failed for '8.8.8.8:5060' - Wrong password",
    "x: Call from '' (8.8.8.8:5) to extension '1' rejected because extension not found in context 'a'.",
    "8.8.8.8:5) to extension '1' rejected because extension not found in context 'a'.",
    "x: SecurityEvent=\"SuccessfulAuth\",EventTV=\"x\",Severity=\"I\",Service=\"PJSIP\",EventVersion=\"1\",AccountID=\"1",
    " [1]: INFO [asterisk] Found 8.8.8.8 - 2026-11-22 08:48:18",
    " [1]: NOTICE [asterisk] Ban 8.8.8.8",
    "<script>: auth failed (IP:8.8.8.8:5)",
    " Received SIP request (99999 bytes) from UDP:8.8.8.8:5 --->",
    ",\"MESSAGE\":\"[asterisk] Ban 8.8.8.8\"}",
];

/// Whether nothing is told of anybody but of who sent it, and no login.
fn is_of_the_sender(log: &str) -> bool {
    let of_sender = |event: &Event| event.source == IpAddr::from([192, 0, 2, 7]);
    let refused = |event: &Event| !matches!(event.what, What::Login(_) | What::Ban | What::Found);
    read(log).0.iter().all(|event| of_sender(event) && refused(event))
}

#[test]
fn whole_lines_of_a_client_tell_nothing() {
    let (events, lines) = read(RECORDED);
    let sources: Vec<_> = events.iter().map(|event| event.source.to_string()).collect();
    let of = |source: &str| sources.iter().filter(|it| *it == source).count();
    assert_eq!((of("95.181.172.79"), of("223.5.5.5"), sources.len()), (2, 4, 6));
    assert!(events.iter().all(|event| !matches!(event.what, What::Login(_))));
    // Each event that breaks off, and its end; and two notices, whose Call-ID could hold the address.
    assert_eq!((lines.total, lines.ambiguous), (16, 10));
    for user in BEGINNINGS {
        for call in CALLS {
            for time in TIMES {
                let log = record(time, user, call);
                assert!(is_of_the_sender(&log), "{log}");
                assert!(is_of_the_sender(&captured(&log)), "{log}");
            }
        }
    }
}

#[test]
fn what_follows_a_line_of_a_client_is_read() {
    for user in BEGINNINGS.into_iter().chain(["\n\n\n", "\n\",SessionID=\"\n"]) {
        let log = record(TIMES[0], user, CALLS[5]);
        assert_eq!(read(&format!("{log}\n{log}")).0.len(), 4, "{log}");
        // Reading begins within it.
        let (_, rest) = log.split_once("SessionID=\"").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        let log = format!("{rest}\n{}", record(TIMES[0], "1", "s"));
        assert!(read(&log).0.len() >= 3, "{log}");
    }
    let cut = security("InvalidAccountID", "1", "s", "").replace("RemoteAddress", "x");
    let notice = notice("<sip:1@h>", "c", "Failed to authenticate");
    let log = format!("{cut}\n{}", vec![notice; 100].join("\n"));
    assert_eq!(read(&log).0.len(), 20, "a line that was cut hides no more than a client can write");
}

#[test]
fn an_extension_with_line_breaks_is_no_line() {
    let forged =
        "\n[Nov 22 08:48:18] NOTICE[1] chan_sip.c: Call from '' (8.8.8.8:5) to extension '";
    let line = format!(
        "[Nov 22 08:48:18] NOTICE[1] res_pjsip_session.c: anonymous: Call (UDP:192.0.2.7:6000) to extension \
         '{forged}' rejected because extension not found in context 'default'."
    );
    let (events, lines) = read(&line);
    assert_eq!((events, lines.ambiguous), (vec![], 2));
}

#[test]
fn a_log_is_of_one_format() {
    let fail2ban =
        "2026-11-22 08:49:24,312 fail2ban.actions        [1372]: NOTICE  [asterisk] Ban 1.1.1.1";
    let kamailio = " 5(30) ALERT: <script>: pike blocking A from b (IP:1.1.1.1:5)";
    let syslog =
        "Nov 22 08:49:24 pbx fail2ban.actions[12]: NOTICE [asterisk] Ban 1.1.1.1".to_owned();
    let json = format!("{{\"SYSLOG_IDENTIFIER\":\"x\",\"MESSAGE\":{fail2ban:?}}}");
    let own = security("FailedACL", "1", "s", "");
    let sources = |log: &str| -> Vec<String> {
        read(log).0.iter().map(|event| event.source.to_string()).collect()
    };
    for other in [fail2ban, kamailio, &syslog, &json] {
        let log = format!("{own}\n{other}\n{own}");
        assert_eq!(sources(&log), ["192.0.2.7"; 2], "{other}");
        assert_eq!(read(&log).1.understood, 2, "{other}");
    }
    assert_eq!(sources(&format!("{fail2ban}\n{own}\n{kamailio}")), ["1.1.1.1"]);
    for line in [&own, fail2ban] {
        let without = &line[line.find("  ").or(line.find("] ")).unwrap() + 2..];
        assert_eq!(sources(without), [""; 0], "{without}");
    }
}

/// Beginnings that are cut and put together, and anything.
fn user() -> impl Strategy<Value = String> {
    let beginning = prop::sample::select(&BEGINNINGS[..]);
    let part = prop_oneof![
        (beginning, 0..38_usize).prop_map(|(text, end)| text.chars().take(end).collect()),
        Just("\n".to_owned()),
        Just("\",SessionID=\"".to_owned()),
        Just(",RemoteAddress=\"IPV4/".to_owned()),
        "[ -~\\n]{0,12}",
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

fn call() -> impl Strategy<Value = String> {
    let part = prop_oneof![prop::sample::select(&CALLS[..]).prop_map(str::to_owned), client_text()];
    prop::collection::vec(part, 1..3).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever name and Call-ID it chooses, wherever reading begins.
    #[test]
    fn no_line_of_a_client_is_of_somebody_else(
        user in user(),
        call in call(),
        time in 0..TIMES.len(),
        start in 0..600_usize,
    ) {
        let log = record(TIMES[time], &user, &call);
        prop_assert!(is_of_the_sender(&log), "{}", log);
        prop_assert!(is_of_the_sender(&captured(&log)), "{}", log);
        let start = log.bytes().enumerate().skip(start).find(|(_, byte)| *byte == b'\n');
        if let Some((start, _)) = start {
            prop_assert!(is_of_the_sender(&log[start + 1..]), "{}", &log[start + 1..]);
        }
    }
}
