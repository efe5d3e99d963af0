use proptest::prelude::*;

use super::*;
use crate::logs::Stamp;

const NOW: UnixTime = UnixTime(1_795_400_040);

fn proves(lines: &[u8], address: IpAddr) -> bool {
    super::proves(lines, address, Calendar { now: Stamp(1_795_400_040_000), ahead: 0 })
}

fn line(transport: &str, source: &str, session: &str) -> String {
    format!(
        "[2026-11-22 08:48:18.905] SECURITY[32163] res_security_log.c: \
         SecurityEvent=\"ChallengeResponseFailed\",EventTV=\"2026-11-22T08:48:18.905+0000\",\
         Severity=\"Error\",Service=\"PJSIP\",EventVersion=\"1\",AccountID=\"1001\",\
         SessionID=\"{session}\",LocalAddress=\"IPV4/{transport}/10.9.0.1/5060\",\
         RemoteAddress=\"IPV4/{transport}/{source}/6000\",Challenge=\"1\"\n"
    )
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn only_security_events_over_tcp_or_tls_prove_who_sent_them() {
    let who = address("192.0.2.7");
    for transport in ["TCP", "TLS", "WSS"] {
        let one = line(transport, "192.0.2.7", "s");
        assert!(proves(one.as_bytes(), who), "{transport}");
        let usual = one.replace("2026-11-22 08:48:18.905]", "Nov 22 08:48:18]");
        assert!(proves(format!("{one}{usual}").as_bytes(), who));
    }
    let proof = line("TCP", "192.0.2.7", "s");
    let notice = "[2026-11-22 08:48:18.905] NOTICE[1] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from \
                  '<sip:1@x>' failed for '192.0.2.7:6000' (callid: 1) - Failed to authenticate\n";
    let others = [
        line("UDP", "192.0.2.7", "s"),
        line("TCP", "192.0.2.8", "s"),
        notice.to_owned(),
        "no log\n".to_owned(),
        // It can't be told which of two addresses is the client's text.
        line("UDP", "192.0.2.7", "\",RemoteAddress=\"IPV4/TCP/192.0.2.7/5060\",X=\""),
        // The last line was cut.
        proof[..proof.len() - 20].to_owned(),
    ];
    for other in others {
        assert!(!proves(other.as_bytes(), who), "{other}");
        assert!(!proves(format!("{proof}{other}").as_bytes(), who), "{other}");
    }
    assert!(!proves(b"", who));
}

#[test]
fn a_ban_that_is_not_proven_is_short() {
    let judge_from = |began, until, proven| {
        Guard::default().judge(address("192.0.2.7"), (began, until), proven, NOW)
    };
    let judge = |until, proven| judge_from(NOW, until, proven);
    let (short, long) = (NOW.plus(SHORT), NOW.plus(86_400));
    assert_eq!(judge(Some(long), true), Judgement::Whole);
    assert_eq!(judge(None, true), Judgement::Whole);
    assert_eq!(judge(Some(long), false), Judgement::Short(short));
    assert_eq!(judge(None, false), Judgement::Short(short));
    assert_eq!(judge(Some(short), false), Judgement::Whole);
    // It began before fail2ban was restarted.
    let began = UnixTime(NOW.0 - 60);
    assert_eq!(judge_from(began, None, false), Judgement::Short(began.plus(SHORT)));
    assert_eq!(judge_from(UnixTime(NOW.0 - SHORT), None, false), Judgement::Over);
    assert_eq!(judge_from(UnixTime(NOW.0 - SHORT), None, true), Judgement::Whole);
}

#[test]
fn a_network_and_a_host_have_a_budget_of_bans_that_are_not_proven() {
    let mut guard = Guard::default();
    let mut judge = |text: &str, now| guard.judge(address(text), (now, None), false, now);
    for _ in 0..MOST_OF_A_NETWORK {
        assert_ne!(judge("192.0.2.7", NOW), Judgement::OverBudget);
    }
    assert_eq!(judge("192.0.2.250", NOW), Judgement::OverBudget);
    assert_ne!(judge("192.0.3.7", NOW), Judgement::OverBudget);
    assert_ne!(judge("192.0.2.7", NOW.plus(MINUTE)), Judgement::OverBudget);
    for _ in 0..MOST_OF_A_NETWORK {
        assert_ne!(judge("2001:db8:1:2::3", NOW), Judgement::OverBudget);
    }
    assert_eq!(judge("2001:db8:1:3::4", NOW), Judgement::OverBudget);
}

#[test]
fn bans_that_fail2ban_restores_have_a_budget_of_their_own() {
    let mut guard = Guard::default();
    let mut judge = |host: u32, began: UnixTime| {
        let source = Ipv4Addr::from_bits(0x2d00_0000 + host).into();
        guard.judge(source, (began, None), false, NOW) != Judgement::OverBudget
    };
    let began = UnixTime(NOW.0 - 60);
    let restored = (0..700).filter(|host| judge(host << 8, began)).count();
    assert_eq!(restored, MOST_RESTORED as usize);
    let made = (0..700).filter(|host| judge(host << 8, NOW)).count();
    assert_eq!(made, MOST as usize, "they take nothing from those that are made");
    let mut guard = Guard::default();
    let mut judge = |host: u32, now: UnixTime| {
        let source = Ipv4Addr::from_bits(0x2d00_0000 + host).into();
        guard.judge(source, (began, None), false, now) != Judgement::OverBudget
    };
    let of_network = |judge: &mut dyn FnMut(u32) -> bool| (0..50).filter(|it| judge(*it)).count();
    let most = MOST_RESTORED_OF_A_NETWORK as usize;
    assert_eq!(of_network(&mut |host| judge(host, NOW)), most);
    assert_eq!(of_network(&mut |host| judge(host, NOW.plus(MINUTE))), 0, "within ten minutes");
}

proptest! {
    #[test]
    fn no_minute_makes_more_bans_than_there_are_in_the_budget(
        sources in prop::collection::vec(any::<u32>(), 0..400),
    ) {
        let mut guard = Guard::default();
        let made = |source: &&u32| {
            let source = Ipv4Addr::from_bits(**source).into();
            guard.judge(source, (NOW, None), false, NOW) != Judgement::OverBudget
        };
        prop_assert!(sources.iter().filter(made).count() <= MOST as usize);
    }

    #[test]
    fn no_text_of_a_client_over_udp_is_a_proof(session in "[^\\n]{0,80}") {
        let line = line("UDP", "192.0.2.7", &session);
        prop_assert!(!proves(line.as_bytes(), address("192.0.2.7")));
    }
}

#[test]
fn the_name_of_a_jail_is_one_word() {
    assert!("asterisk-iptables".parse::<Jail>().is_ok());
    for no in ["", "two words", "a\nb", &"x".repeat(65), "é"] {
        assert!(no.parse::<Jail>().is_err(), "{no}");
    }
}
