//! Traced messages that end before they are to.

use super::*;

/// As Asterisk wrote it: a packet of 60,317 bytes with a NUL after 317, and some of others after it.
const RECORDED: &str = sample!("asterisk-trace.log");

/// What is logged of a packet that is traced.
fn trace(body: &str) -> String {
    let length = body.len();
    let printed = body.split('\0').next().unwrap();
    format!(
        "[2026-11-22 08:48:18] VERBOSE[1] res_pjsip_logger.c: <--- Received SIP request ({length} bytes) from \
         UDP:192.0.2.7:6000 --->\n{printed}\n"
    )
}

fn of(source: &str) -> String {
    security("FailedACL", "1", "s", "").replace("192.0.2.7", source)
}

#[test]
fn what_a_traced_message_may_have_hidden_is_said() {
    let (events, lines) = read(RECORDED);
    assert_eq!(events, [], "the client's text can't be told from Asterisk's");
    assert_eq!((lines.total, lines.hidden), (lines.traced + 1, lines.traced));
    let (_, rest) = RECORDED.split_once("\na\n").unwrap();
    let (events, lines) = read(rest);
    assert_eq!((events.is_empty(), lines.hidden), (false, 0), "without the packet");
    let short = trace(&format!("REGISTER sip:h SIP/2.0\r\n\r\n\0{}", "x".repeat(600)));
    let own = of("192.0.2.7");
    let (events, lines) = read(&format!("{short}{own}\n{own}\n{own}\n{own}"));
    assert_eq!((events.len(), lines.hidden), (1, 6), "what comes after it is read");
}

#[test]
fn a_trace_in_one_line_hides_nothing() {
    let own = of("192.0.2.7");
    for rest in ["#015#012REGISTER sip:h SIP/2.0", "#012 --->"] {
        let line = format!(
            "Nov 22 08:48:18 pbx asterisk[1]: VERBOSE[1]: res_pjsip_logger.c:9 in f: <--- Received SIP request \
             (9999 bytes) from UDP:192.0.2.7:6000 --->{rest}"
        );
        let captured = format!("Nov 22 08:48:18 pbx asterisk[1]: {own}");
        assert_eq!(read(&format!("{line}\n{captured}")).0.len(), 1, "{rest}");
    }
}

/// Bodies with lines that seem to be Asterisk's, and with a NUL or none.
fn body() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just(format!("{}\r\n", of("1.1.1.1"))),
        Just(format!("{}\n", of("1.1.1.1"))),
        Just(trace("").replace("(0 bytes)", "(1 bytes)")),
        Just("\0".to_owned()),
        Just("\n".to_owned()),
        "[ -~\\n]{0,300}",
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn no_line_of_a_traced_message_is_believed(
        bodies in prop::collection::vec((body(), 0..4_usize), 1..6),
    ) {
        let own = format!("{}\n", of("192.0.2.7"));
        let log: String =
            bodies.iter().map(|(body, lines)| trace(body) + &own.repeat(*lines)).collect();
        let (events, _) = read(&log);
        let of_sender = |event: &Event| event.source == IpAddr::from([192, 0, 2, 7]);
        prop_assert!(events.iter().all(of_sender), "{}", log);
        if bodies.iter().all(|(body, _)| !body.contains(['\0', '['])) {
            let written: usize = bodies.iter().map(|(_, lines)| lines).sum();
            prop_assert_eq!(events.len(), written);
        }
    }
}
