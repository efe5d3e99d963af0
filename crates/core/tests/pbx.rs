//! What is read from what real PBXs said (`samples/`), and that no text whatever breaks a reader.

use geofilter_core::pbx::binrpc::{self, Value, Wrong};
use geofilter_core::pbx::{How, Kind, LogFile, Pbx, ami, asterisk, freepbx, kamailio, uri};
use geofilter_core::surroundings;
use proptest::prelude::*;

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("samples/", $name))
    };
}

macro_rules! binary {
    ($name:literal) => {
        binrpc::reply(include_bytes!(concat!("samples/", $name)))
    };
}

fn words<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

/// An Asterisk with everything, by its command line.
fn by_command_line() -> Pbx {
    let registered = asterisk::registered(sample!("asterisk-database-show-registrar.txt"));
    let aor = sample!("asterisk-pjsip-show-aor.txt");
    let uris = asterisk::other_contacts("trunk", aor, &registered);
    let mut trunks = asterisk::identifies(sample!("asterisk-pjsip-show-identifies.txt"));
    trunks.push(asterisk::static_contacts("trunk", aor, &uris));
    let registration = sample!("asterisk-pjsip-show-registration.txt");
    trunks.push(asterisk::registration("reg", true, registration));
    let devices = registered.into_iter().filter_map(|one| one.device).collect();
    Pbx { trunks, devices, ..Pbx::new(Kind::Asterisk) }
}

#[test]
fn asterisk_tells_what_it_is_and_where_it_listens() {
    let version = asterisk::version(sample!("asterisk-core-show-version.txt"));
    assert!(version.unwrap().starts_with("22.10.1"));
    let transports = asterisk::transports(sample!("asterisk-pjsip-list-transports.txt"));
    let listed: Vec<String> =
        transports.iter().map(|it| format!("{} {:?} {}", it.name, it.carrier, it.bind)).collect();
    assert_eq!(
        listed,
        [
            "tcp Tcp 127.0.0.1:5070",
            "udp Udp 0.0.0.0:5060",
            "udp6 Udp [::]:5062",
            "ws Ws 0.0.0.0:5060"
        ]
    );
    assert_eq!(asterisk::transports(sample!("pjsip-show-transports-dual.txt")).len(), 3);
    assert_eq!(asterisk::rtp(sample!("rtp-show-settings.txt")), Some((10_000, 12_000)));
    let web = asterisk::websockets(sample!("asterisk-http-show-status.txt"));
    assert_eq!(words(web), ["0.0.0.0:8088"]);
    assert!(asterisk::is_unknown("No such command 'pjsip show contacts' (type ...)\n"));
}

#[test]
fn trunks_and_devices_are_told_apart() {
    let pbx = by_command_line();
    assert_eq!(
        words(pbx.trunk_addresses()),
        ["127.0.0.9:5099", "[2001:db8:1111:2222:3333:4444:5555:6666]:5080"]
    );
    assert_eq!(
        words(pbx.trunk_hosts()),
        ["pstn.a-rather-long-name-of-a-provider.example.net:5099", "registrar.example.net:5066"]
    );
    assert_eq!(
        words(pbx.identified_prefixes()),
        ["127.0.0.9/32", "198.51.100.0/24", "2001:db8:42::/48"]
    );
    assert_eq!(words(pbx.registered_addresses()), ["127.0.0.21", "127.0.0.22"]);
    let how: Vec<How> = pbx.trunks.iter().map(|trunk| trunk.how).collect();
    assert_eq!(how, [How::Identify, How::StaticContact, How::Registration]);
}

#[test]
fn log_files_are_listed_with_what_is_written_there() {
    let logs = asterisk::log_files(sample!("asterisk-logger-show-channels.txt"));
    let logs: Vec<_> = logs.iter().map(|log| (log.path.as_str(), log.levels.join(" "))).collect();
    assert_eq!(
        logs,
        [
            ("/var/log/asterisk/messages", "NOTICE WARNING ERROR SECURITY".to_owned()),
            ("/var/log/asterisk/my log", "NOTICE".to_owned())
        ]
    );
    let cut = "/srv/asterisk/var/log/asterisk/secu";
    let log = |path: &str| LogFile { path: path.to_owned(), levels: Vec::new() };
    let open = ["/srv/asterisk/var/log/asterisk/security.log".into(), "/dev/null".into()];
    let whole = asterisk::whole_names(vec![log(cut), log("/dev")], &open);
    assert_eq!(whole, [log("/srv/asterisk/var/log/asterisk/security.log"), log("/dev")]);
    assert_eq!(asterisk::whole_names(vec![log(cut)], &[]), [log(cut)]);
}

#[test]
fn a_contact_that_was_registered_is_no_trunk() {
    let registered = asterisk::registered(sample!("asterisk-database-show-registrar.txt"));
    let contacts = sample!("asterisk-pjsip-show-contacts.txt");
    assert_eq!(asterisk::aors_with_static_contacts(contacts, &registered), ["trunk"]);
    assert_eq!(asterisk::aors_with_static_contacts(contacts, &[]), ["1001", "trunk"]);
    let aor = sample!("asterisk-pjsip-show-aor-registered.txt");
    assert!(asterisk::other_contacts("1001", aor, &registered).is_empty());
    assert_eq!(asterisk::other_contacts("1001", aor, &[]).len(), 2);
    assert!(!asterisk::is_static(sample!("asterisk-pjsip-show-contact-registered.txt")));
    assert!(asterisk::is_static(sample!("asterisk-pjsip-show-contact-static.txt")));
    assert!(!asterisk::is_static("Unable to find object nope/sip:1.\n"));
}

#[test]
fn many_devices_are_read_whole() {
    let registered = asterisk::registered(sample!("database-show-registrar-many.txt"));
    assert_eq!(registered.len(), 12);
    let contacts = sample!("pjsip-show-contacts-many.txt");
    assert_eq!(asterisk::aors_with_static_contacts(contacts, &registered), ["trunk"]);
    let first = registered[0].device.as_ref().unwrap();
    assert_eq!(first.endpoint, "1001");
    assert_eq!(first.address.to_string(), "212.66.168.129:5066");
    assert_eq!(first.user_agent.as_deref(), Some("lab-phone"));
    let one = asterisk::identifies(sample!("pjsip-show-identifies-one.txt"));
    assert_eq!(
        (one[0].name.as_str(), words(&one[0].prefixes)),
        ("trunk", vec!["2.26.182.211/32".to_owned()])
    );
}

#[test]
fn what_a_device_calls_itself_reaches_no_terminal_and_names_no_address() {
    let pbx = by_command_line();
    let agents: Vec<&str> =
        pbx.devices.iter().filter_map(|device| device.user_agent.as_deref()).collect();
    assert!(agents.contains(&"Evil/1.0 ?[31m\"x\\\", \"uri\":\"sip:9.9.9.9"), "{agents:?}");
    assert!(!words(pbx.registered_addresses()).contains(&"9.9.9.9".to_owned()));
    assert!(!serde_json::to_string(&pbx).unwrap().contains("secret"), "a header that identifies");
}

#[test]
fn the_manager_tells_the_same_and_its_passwords_are_not_kept() {
    let text = sample!("asterisk-ami.txt");
    assert!(text.contains("TopSecretReg"), "the sample holds a password");
    let events = ami::events(text);
    assert!(!format!("{events:?}").contains("TopSecretReg"));
    let registered = ami::registered(&events);
    let mut trunks = ami::static_contacts(&events, &registered);
    trunks.extend(ami::registrations(&events));
    let devices = registered.into_iter().filter_map(|(_, device)| device).collect();
    let pbx = Pbx { trunks, devices, ..Pbx::new(Kind::Asterisk) };
    let other = by_command_line();
    assert_eq!(pbx.registered_addresses(), other.registered_addresses());
    assert_eq!(pbx.trunk_hosts(), other.trunk_hosts());
    assert_eq!(
        words(pbx.trunk_addresses()),
        ["127.0.0.8:5060", "127.0.0.9:5099", "[2001:db8:1111:2222:3333:4444:5555:6666]:5080"]
    );
    let output = ami::output(text.split("Command output follows").last().unwrap());
    assert_eq!(output, None, "nothing without a success");
    let command = &text[text.rfind("Response:").unwrap()..];
    assert_eq!(asterisk::rtp(&ami::output(command).unwrap()), Some((10_000, 10_100)));
}

#[test]
fn the_manager_of_a_busy_asterisk_lists_one_trunk() {
    let events = ami::events(sample!("ami-lists.txt"));
    let registered = ami::registered(&events);
    assert_eq!(registered.len(), 12);
    let trunks = ami::static_contacts(&events, &registered);
    assert_eq!(trunks.len(), 1);
    assert_eq!(words(&trunks[0].addresses), ["2.26.182.211:5060"]);
}

#[test]
fn kamailio_is_read() {
    assert_eq!(kamailio::version(&binary!("kamailio-core-version.bin").unwrap()).unwrap(), "5.6.3");
    let transports = kamailio::transports(&binary!("kamailio-core-sockets-list.bin").unwrap());
    let binds: Vec<_> =
        transports.iter().map(|it| format!("{:?} {}", it.carrier, it.bind)).collect();
    assert_eq!(binds, ["Udp 127.0.0.1:5060", "Udp [::1]:5060", "Tcp 127.0.0.5:5090"]);
    let devices = kamailio::devices(&binary!("kamailio-ul-dump.bin").unwrap());
    assert_eq!(devices[0].endpoint, "1001");
    assert_eq!(devices[0].address.to_string(), "127.0.0.21:5066", "the source, not the claim");
    let trunks = kamailio::dispatched(&binary!("kamailio-dispatcher-list.bin").unwrap());
    let sets: Vec<_> =
        trunks.iter().map(|it| format!("{} {:?}", it.name, words(&it.addresses))).collect();
    assert_eq!(
        sets,
        ["dispatcher set 2 [\"[2001:db8::9]:5060\"]", "dispatcher set 1 [\"127.0.0.9:5080\"]"]
    );
    let fault = binary!("kamailio-fault.bin").unwrap_err();
    assert_eq!(fault, Wrong::Fault("command nonsense.x not found".to_owned()));
}

#[test]
fn a_request_reads_as_it_was_written() {
    let mut request = binrpc::request("core.version");
    request[1] |= 0x10; // as a reply
    assert_eq!(binrpc::length(&request), Ok(Some(request.len())));
    let items = binrpc::reply(&request).unwrap();
    assert_eq!(items, [(String::new(), Value::Text("core.version".to_owned()))]);
    assert_eq!(binrpc::length(&request[..2]), Ok(None));
    assert_eq!(binrpc::length(b"HTTP/1.1"), Err(Wrong::Malformed));
}

#[test]
fn freepbx_is_known_by_its_files() {
    let found = freepbx::recognise(Some(sample!("freepbx-module.xml")));
    assert_eq!((found.name, found.version.as_deref()), ("FreePBX", Some("16.0.40.7")));
    assert!(found.note.contains("not tried on a live one"));
    assert_eq!(freepbx::recognise(Some("<version>\x1b[31m</version>")).version, None);
    assert_eq!(freepbx::recognise(None).version, None);
}

#[test]
fn rulesets_of_others_are_read() {
    let (firewalls, forwards) = surroundings::nft(sample!("nft-ruleset.json").as_bytes()).unwrap();
    let names: Vec<_> =
        firewalls.iter().map(|it| format!("{} {}", it.name, it.owner.unwrap_or("-"))).collect();
    assert_eq!(
        names,
        [
            "nftables inet f2b-table fail2ban",
            "nftables ip nat Docker",
            "nftables inet filter ufw",
            "nftables inet geo -"
        ]
    );
    assert_eq!(firewalls[3].large_sets[0].elements, 1200);
    let what: Vec<_> = forwards.iter().map(|it| format!("{} {}", it.by, it.what)).collect();
    assert_eq!(
        what,
        ["nftables ip nat udp/5060", "nftables ip nat udp/5160", "nftables ip nat tcp/5061"]
    );
}

#[test]
fn fail2ban_and_docker_are_read() {
    let client = sample!("fail2ban-client.txt");
    assert_eq!(surroundings::jails(client).unwrap(), ["asterisk"]);
    let banned = client.lines().find(|line| line.starts_with("[{")).unwrap();
    assert_eq!(surroundings::banned(banned).len(), 13);
    let line = "/usr/bin/docker-proxy -proto udp -host-ip 0.0.0.0 -host-port 5060 \
        -container-ip 172.17.0.2 -container-port 5060";
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    assert_eq!(surroundings::docker_proxy(&words).unwrap().what, "udp/5060 to 172.17.0.2");
    let web: Vec<String> =
        line.replace("5060", "8080").split_whitespace().map(str::to_owned).collect();
    assert_eq!(surroundings::docker_proxy(&web), None);
}

/// Everything that reads text, on this text.
fn read_everything(text: &str) {
    let registered = asterisk::registered(text);
    let _ = (asterisk::version(text), asterisk::transports(text), asterisk::rtp(text));
    let _ = (asterisk::websockets(text), asterisk::identifies(text), asterisk::is_static(text));
    let _ = (asterisk::registrations(text), asterisk::registration(text, false, text));
    let _ = asterisk::aors_with_static_contacts(text, &registered);
    let others = asterisk::other_contacts(text, text, &registered);
    let _ = asterisk::static_contacts(text, text, &others);
    let events = ami::events(text);
    let known = ami::registered(&events);
    let _ = (ami::static_contacts(&events, &known), ami::registrations(&events), ami::output(text));
    let _ = (uri::host(text), uri::carrier(text));
    let _ = (surroundings::jails(text), surroundings::banned(text), freepbx::recognise(Some(text)));
}

proptest! {
    #[test]
    fn no_text_breaks_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read_everything(&asterisk::plain(&bytes));
        let _ = surroundings::nft(&bytes);
        let _ = binrpc::length(&bytes);
        if let Ok(items) = binrpc::reply(&bytes) {
            let _ = (kamailio::devices(&items), kamailio::transports(&items), kamailio::dispatched(&items));
        }
    }

    /// Such text gets further, since it begins as an answer does.
    #[test]
    fn no_mended_answer_breaks_a_reader(
        which in 0_usize..9, place in any::<prop::sample::Index>(), noise in ".{0,12}", cut in any::<prop::sample::Index>()
    ) {
        let samples = [
            sample!("asterisk-database-show-registrar.txt"), sample!("asterisk-pjsip-show-contacts.txt"),
            sample!("asterisk-pjsip-show-identifies.txt"), sample!("asterisk-pjsip-show-registrations.txt"),
            sample!("asterisk-ami.txt"), sample!("asterisk-pjsip-list-transports.txt"),
            sample!("asterisk-pjsip-show-aor.txt"), sample!("asterisk-http-show-status.txt"),
            sample!("asterisk-core-show-version.txt"),
        ];
        let mut text: String = samples[which].to_owned();
        let boundary = |text: &str, mut at: usize| { while !text.is_char_boundary(at) { at -= 1; } at };
        let at = boundary(&text, place.index(text.len()));
        text.insert_str(at, &noise);
        text.truncate(boundary(&text, cut.index(text.len())).max(at));
        read_everything(&text);
    }

    #[test]
    fn no_reply_breaks_kamailio(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = include_bytes!("samples/kamailio-ul-dump.bin").to_vec();
        let at = place.index(bytes.len());
        bytes[at] = byte;
        if let Ok(items) = binrpc::reply(&bytes) {
            let _ = kamailio::devices(&items);
        }
    }
}
