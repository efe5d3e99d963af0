use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use p521::ecdsa::signature::hazmat::PrehashSigner;
use p521::ecdsa::{Signature, SigningKey};
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::super::signature::{IPFIRE_KEY, PublicKey};
use super::super::text;
use super::*;

/// A network as both forms have it: country, system, flags.
type Entry = (&'static str, u32, u16);

fn key() -> SigningKey {
    let mut secret = [0; 66];
    secret[65] = 7;
    SigningKey::from_bytes(&secret.into()).unwrap()
}

fn trust() -> Trust {
    Trust::SignedBy(PublicKey::new(key().verifying_key().to_sec1_point(false).as_bytes()).unwrap())
}

/// The bits of a prefix, IPv4 in its place in IPv6.
fn path(net: IpNet) -> Vec<usize> {
    let (bits, length) = match net {
        IpNet::V4(v4) => (u128::from(v4.network().to_ipv6_mapped()), v4.prefix_len() + 96),
        IpNet::V6(v6) => (u128::from(v6.network()), v6.prefix_len()),
    };
    (0..length).map(|at| (bits >> (127 - at) & 1) as usize).collect()
}

/// A database of these networks and of one system, signed.
fn database(networks: &BTreeMap<IpNet, Entry>) -> Vec<u8> {
    let mut nodes = vec![[0, 0, u32::MAX]];
    for (index, net) in networks.keys().enumerate() {
        let mut node = 0;
        for bit in path(*net) {
            if nodes[node][bit] == 0 {
                nodes[node][bit] = nodes.len() as u32;
                nodes.push([0, 0, u32::MAX]);
            }
            node = nodes[node][bit] as usize;
        }
        nodes[node][2] = index as u32;
    }
    let networks = networks.values().flat_map(|(code, system, flags)| {
        let code = if code.is_empty() { "\0\0" } else { code };
        let parts: [&[u8]; 5] =
            [code.as_bytes(), &[0; 2], &system.to_be_bytes(), &flags.to_be_bytes(), &[0; 2]];
        parts.concat()
    });
    let systems = [64500_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat();
    let tree = nodes.iter().flatten().flat_map(|number| number.to_be_bytes());
    let sections = [systems, networks.collect(), tree.collect(), Vec::new(), b"EXAMPLE\0".to_vec()];
    let mut file = [MAGIC, &[VERSION], &1_790_000_000_u64.to_be_bytes(), &[0; 12]].concat();
    let mut body = Vec::new();
    for section in sections {
        file.extend(((HEADER + body.len()) as u32).to_be_bytes());
        file.extend((section.len() as u32).to_be_bytes());
        body.extend(section);
    }
    file.resize(HEADER, 0);
    file.extend(body);
    sign(&mut file);
    file
}

/// Puts a signature into the second field, after a wrong one in the first.
fn sign(file: &mut [u8]) {
    file[SIGNATURES..SIGNED].fill(0);
    let signature: Signature = key().sign_prehash(&Sha256::digest(&*file)).unwrap();
    let signature = signature.to_der();
    file[SIGNATURES + 1] = 3;
    file[SIGNATURES + 3] = signature.as_bytes().len() as u8;
    file[SIGNATURES + 4 + SIGNATURE_FIELD..][..signature.as_bytes().len()]
        .copy_from_slice(signature.as_bytes());
}

/// The same networks as the export has them.
fn export(networks: &BTreeMap<IpNet, Entry>) -> String {
    let mut text = "aut-num: AS64500\nname: EXAMPLE\n".to_owned();
    for (net, (code, system, flags)) in networks {
        write!(text, "\nnet: {net}\ncountry: {code}\n").unwrap();
        if *system > 0 {
            writeln!(text, "aut-num: {system}").unwrap();
        }
        let names = ["is-anonymous-proxy", "is-satellite-provider", "is-anycast", "drop"];
        for (bit, name) in names.iter().enumerate() {
            if flags & 1 << bit != 0 {
                writeln!(text, "{name}: yes").unwrap();
            }
        }
    }
    text
}

fn sample() -> BTreeMap<IpNet, Entry> {
    let networks = [
        ("1.0.0.0/8", ("AU", 64500, 0)),
        ("1.1.0.0/16", ("", 0, 0)),
        ("1.2.0.0/16", ("ES", 64501, 8)),
        ("1.3.0.0/16", ("ES", 0, 4)),
        ("255.255.255.255/32", ("FR", 0, 0)),
        ("2a00::/16", ("PT", 0, 0)),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", ("UK", 0, 0)),
    ];
    networks.into_iter().map(|(net, entry)| (net.parse().unwrap(), entry)).collect()
}

fn error(file: &[u8]) -> String {
    let read = || Database::open(file, &Trust::Anybody)?.countries();
    read().unwrap_err().to_string()
}

#[test]
fn networks_have_countries_and_systems() {
    let file = database(&sample());
    let database = Database::open(&file, &trust()).unwrap();
    assert_eq!(database.created(), 1_790_000_000);
    let countries = database.countries().unwrap();
    let at =
        |address: &str| countries.get(address.parse().unwrap()).map(|at| at.code().to_string());
    assert_eq!(at("0.255.255.255"), None);
    assert_eq!(at("1.0.0.0").as_deref(), Some("AU"));
    assert_eq!(at("1.1.9.9").as_deref(), Some("ZZ"));
    assert_eq!(at("1.2.0.0").as_deref(), Some("ES"));
    assert_eq!(at("1.3.0.0").as_deref(), Some("ZZ"));
    assert_eq!(at("1.255.255.255").as_deref(), Some("AU"));
    assert_eq!(at("2.0.0.0"), None);
    assert_eq!(at("255.255.255.255").as_deref(), Some("FR"));
    assert_eq!(at("2a00::1").as_deref(), Some("PT"));
    assert_eq!(at("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").as_deref(), Some("GB"));
    let systems = database.asns().unwrap();
    let at = |address: &str| {
        systems.lookup(address.parse().unwrap()).map(|by| (by.number.get(), by.name))
    };
    assert_eq!(at("1.1.0.0"), Some((64500, "EXAMPLE")));
    assert_eq!(at("1.2.0.0"), Some((64501, "")));
    assert_eq!(at("2.0.0.0"), None);
}

#[test]
fn a_network_of_ipv6_does_not_reach_into_ipv4() {
    let file = database(&BTreeMap::from([("::/0".parse().unwrap(), ("ES", 0, 0))]));
    let countries = Database::open(&file, &trust()).unwrap().countries().unwrap();
    assert_eq!(countries.v4.len(), 1);
    assert_eq!(countries.v4.get(0), None);
    let around = BTreeMap::from([
        ("::/0".parse().unwrap(), ("ES", 0, 0)),
        ("::fffe:0:0/96".parse().unwrap(), ("PT", 0, 0)),
        ("9.0.0.0/8".parse().unwrap(), ("FR", 0, 0)),
    ]);
    let file = database(&around);
    let countries = Database::open(&file, &trust()).unwrap().countries().unwrap();
    assert_eq!(countries.v4.len(), 3);
    assert_eq!(
        countries.get("::1:0:0:0".parse::<IpAddr>().unwrap()).unwrap().code().as_str(),
        "ES"
    );
}

#[test]
fn only_what_is_signed_is_read_unless_anybody_is_trusted() {
    let file = database(&sample());
    for at in [9, HEADER - 1, HEADER + 8, file.len() - 1] {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let error = Database::open(&changed, &trust()).unwrap_err();
        assert_eq!(error, DatabaseError::Signature, "byte {at}");
        assert!(Database::open(&changed, &Trust::Anybody).is_ok(), "byte {at}");
    }
    let mut unsigned = file.clone();
    unsigned[SIGNATURES..SIGNED].fill(0);
    assert_eq!(Database::open(&unsigned, &trust()).unwrap_err(), DatabaseError::Signature);
    unsigned[SIGNATURES..SIGNATURES + 4].fill(0xff);
    assert_eq!(Database::open(&unsigned, &trust()).unwrap_err(), DatabaseError::Signature);
    let ipfire = Trust::SignedBy(PublicKey::new(&IPFIRE_KEY).unwrap());
    assert_eq!(Database::open(&file, &ipfire).unwrap_err(), DatabaseError::Signature);
}

#[test]
fn what_is_no_database_is_refused() {
    assert_eq!(
        error(b"net: 1.0.0.0/8"),
        "it is not a location database: fetch location.db, and unpack it"
    );
    assert_eq!(
        error(b"LOCDBXX"),
        "it is not a location database: fetch location.db, and unpack it"
    );
    assert_eq!(error(b"LOCDBXX\x02"), "its format has the version 2, and only 1 can be read");
    let file = database(&sample());
    assert_eq!(error(&file[..HEADER - 1]), "it ends before byte 4200: fetch it again");
    let cut = error(&file[..file.len() - 1]);
    assert_eq!(cut, format!("it ends before byte {}: fetch it again", file.len()));
    assert_eq!(error(&database(&BTreeMap::new())), "no network in it has a country");
    let mut country = file;
    country[HEADER + SYSTEM] = b'?';
    assert_eq!(error(&country), "the network at byte 4208 has no country code: fetch it again");
}

#[test]
fn a_tree_that_is_none_is_refused() {
    let networks = BTreeMap::from([("128.0.0.0/1".parse().unwrap(), ("ES", 0, 0))]);
    let root = HEADER + SYSTEM + NETWORK;
    let with = |at: usize, number: u32| {
        let mut file = database(&networks);
        file[at..at + 4].copy_from_slice(&number.to_be_bytes());
        error(&file)
    };
    let last = root + 97 * NODE;
    assert!(with(last, 1).contains("does not belong into a tree"), "a cycle");
    assert!(with(root + 4, 1).contains("does not belong into a tree"), "two parents");
    assert!(with(root, 4_000_000_000).contains("does not belong into a tree"), "no such node");
    assert!(with(last + 8, 1).contains("refers to no network"));
    let deep = BTreeMap::from([("::/128".parse().unwrap(), ("ES", 0, 0))]);
    let mut file = database(&deep);
    let leaf = root + 128 * NODE;
    file[leaf + 3] = 1;
    assert!(error(&file).contains(&format!("byte {leaf} does not belong into a tree")));
}

fn network() -> impl Strategy<Value = (IpNet, Entry)> {
    let v4 = (any::<u32>(), 0..=32_u8).prop_map(|(bits, length)| {
        IpNet::new_assert(IpAddr::V4((bits & 0x0703_00ff).into()), length)
    });
    let v6 = (any::<u128>(), 0..=128_u8).prop_map(|(bits, length)| {
        IpNet::new_assert(IpAddr::V6((bits & 0x2003 << 112 | bits & 3).into()), length)
    });
    let entry = (
        prop::sample::select(vec!["ES", "PT", "FR", ""]),
        prop::sample::select(vec![0, 64500, 64501]),
        prop::sample::select(vec![0, 0, 0, 1, 2, 4, 8]),
    );
    (prop_oneof![v4, v6], entry).prop_map(|(net, entry)| (net.trunc(), entry))
}

proptest! {
    #[test]
    fn the_database_says_what_its_export_says(networks in vec(network(), 1..12)) {
        let networks: BTreeMap<IpNet, Entry> = networks.into_iter().collect();
        let file = database(&networks);
        let database = Database::open(&file, &Trust::Anybody).unwrap();
        let text = export(&networks);
        let countries = text::parse_countries(text.as_bytes()).unwrap();
        prop_assert_eq!(database.countries().unwrap(), countries);
        match text::parse_asns(text.as_bytes()) {
            Ok(systems) => prop_assert_eq!(database.asns().unwrap(), systems),
            Err(_) => prop_assert!(database.asns().is_err()),
        }
    }

    #[test]
    fn a_changed_or_truncated_file_does_no_harm(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut file = database(&sample());
        let header = file.len() - HEADER + 72;
        for (at, byte) in changes {
            // Not in the signatures: nobody looks at them here.
            let at = at.index(header);
            let at = if at < 72 { at } else { at - 72 + HEADER };
            file[at] = byte;
        }
        let end = HEADER + end.index(2 * (file.len() - HEADER));
        let file = &file[..end.min(file.len())];
        if let Ok(database) = Database::open(file, &Trust::Anybody) {
            drop(database.countries());
            drop(database.asns());
        }
    }
}
