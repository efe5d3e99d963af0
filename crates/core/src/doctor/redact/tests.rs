use std::net::{Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::*;

fn spain(_: IpAddr) -> CountryCode {
    CountryCode::parse("ES").unwrap()
}

fn redacted(text: &str) -> String {
    let names = ["1001", "Carrier One", "pbx"].map(str::to_owned);
    Redactor::new(&spain, names).text(text)
}

/// Whether an address can be parsed out of any part of a text.
fn has_address(text: &str) -> Option<String> {
    let letters: Vec<(usize, char)> = text.char_indices().collect();
    let ends: Vec<usize> = letters.iter().map(|(at, _)| *at).chain([text.len()]).collect();
    ends.iter().enumerate().find_map(|(first, from)| {
        let parts = ends[first..].iter().take(LONGEST + 1).map(|to| &text[*from..*to]);
        parts.filter(|part| part.parse::<IpAddr>().is_ok()).map(str::to_owned).next()
    })
}

#[test]
fn the_same_is_called_the_same() {
    let text =
        "trunk 1.2.3.4:5060, [2001:db8::1]:5060, 1.2.3.0/24 and ::ffff:1.2.3.4, not 10.0.0.1";
    assert_eq!(
        redacted(text),
        "trunk address-1 (ES):5060, [address-2 (ES)]:5060, address-3 (ES)/24 and address-1 (ES), not address-4 (private)"
    );
    assert_eq!(redacted("0.0.0.0:5060 :: 127.0.0.1"), "any (v4):5060 any (v6) loopback");
}

#[test]
fn names_users_and_hosts_are_taken_out() {
    assert_eq!(
        redacted("the trunk carrier one and 1001, sip:1001@sip.Carrier.example:5060, 10010"),
        "the trunk name-1 and name-2, sip:name-2@name-3:5060, 10010"
    );
    assert_eq!(
        redacted("to sip:4711 and tel:+34600; from PBX"),
        "to sip:name-2 and tel:name-3; from name-1"
    );
    assert_eq!(redacted("trunk.example.net. did not answer"), "name-1. did not answer");
    assert_eq!(
        redacted("sip:anya@name-smith or sip:loopbacker"),
        "sip:name-1@name-2 or sip:name-3"
    );
    assert_eq!(
        redacted("pbx7.acme.local, sip.mts.rs, my_sbc.acme.example, http://a.example:8088/ws"),
        "name-1, name-2, name-3, http://name-4:8088/ws"
    );
    let named_by_address = ["acme-1.2.3.4".to_owned(), "1.2.3.4".to_owned()];
    let mut redactor = Redactor::new(&spain, named_by_address);
    assert_eq!(redactor.text("ACME-1.2.3.4 at 1.2.3.4"), "name-1 at address-1 (ES)");
    for plain in [
        "overrides.jsonl in /var/lib/geofilter, /etc/fail2ban/jail.local",
        "Asterisk 22.10.1+dfsg, Linux 6.18.0-5-amd64",
        "at 20:25:41 udp/5060-5061 `geofilter allow ES`",
    ] {
        assert_eq!(redacted(plain), plain);
    }
}

#[test]
fn hardware_and_odd_addresses_go_too() {
    let said = redacted("52:54:00:12:34:56 52-54-00-12-34-56 010.001.002.003 999.1.2.3");
    assert_eq!(said, "mac-1 (hardware) mac-2 (hardware) address-3 (private) address-4 (odd)");
}

#[test]
fn documents_are_redacted_throughout() {
    let document = serde_json::json!({"a": ["1.2.3.4", {"5.6.7.8": "pbx", "n": 1}]});
    let redacted = Redactor::new(&spain, ["pbx".to_owned()]).document(document);
    assert_eq!(
        redacted,
        serde_json::json!({"a": ["address-1 (ES)", {"address-2 (ES)": "name-1", "n": 1}]})
    );
}

fn address() -> impl Strategy<Value = String> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u16; 8]>().prop_map(IpAddr::from);
    let short = (any::<u16>(), any::<u16>())
        .prop_map(|(a, b)| Ipv6Addr::from([a, 0, 0, 0, 0, 0, 0, b]).into());
    let mapped = any::<[u8; 4]>().prop_map(|octets| Ipv4Addr::from(octets).to_ipv6_mapped().into());
    (prop_oneof![v4, v6, short, mapped], any::<u16>(), 0..5).prop_map(
        |(address, port, how): (IpAddr, _, _)| match how {
            0 => SocketAddr::new(address, port).to_string(),
            1 => format!("{address}/24"),
            2 => format!("[{address}]"),
            3 => address.to_string().to_uppercase(),
            _ => address.to_string(),
        },
    )
}

proptest! {
    #[test]
    fn no_address_is_left(parts in prop::collection::vec(
        prop_oneof![address(), ".{0,12}", "[0-9a-f:.]{0,30}"], 0..8,
    )) {
        let text = parts.concat();
        let result = redacted(&text);
        prop_assert_eq!(has_address(&result), None, "{:?} became {:?}", text, result);
    }
}
