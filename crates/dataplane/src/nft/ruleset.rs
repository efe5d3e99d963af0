//! What is read of the rules over netlink (linux/netfilter/nf_tables.h).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use geofilter_core::counters::Traffic;
use geofilter_core::decide::Timed;
use geofilter_core::desired::BootTime;

use super::netfilter::{
    self, Kind, NFPROTO_INET, NFPROTO_UNSPEC, NFTABLES, Request, attributes, be32, be64, messages,
    text, text_in, unreadable, value,
};

const NEWTABLE: Kind = (NFTABLES, 0);
const GETTABLE: Kind = (NFTABLES, 1);
const NEWCHAIN: Kind = (NFTABLES, 3);
const GETCHAIN: Kind = (NFTABLES, 4);
const NEWRULE: Kind = (NFTABLES, 6);
const GETRULE: Kind = (NFTABLES, 7);
const NEWSET: Kind = (NFTABLES, 9);
const GETSET: Kind = (NFTABLES, 10);
const NEWSETELEM: Kind = (NFTABLES, 12);
const GETSETELEM: Kind = (NFTABLES, 13);
const GETGEN: Kind = (NFTABLES, 16);
const NEWOBJ: Kind = (NFTABLES, 18);
const GETOBJ: Kind = (NFTABLES, 19);

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_GEN_ID: u16 = 1;
const NFTA_OBJ_TABLE: u16 = 1;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;
const NFT_OBJECT_COUNTER: u32 = 1;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

/// The number of the ruleset: whoever changes anything in this network namespace makes it another one.
///
/// # Errors
/// If the kernel does not answer.
pub(super) fn generation() -> io::Result<u32> {
    let answer = netfilter::ask(&Request {
        kind: GETGEN,
        flags: 0,
        family: NFPROTO_UNSPEC,
        resource: 0,
        attributes: &[],
    })?;
    let number = messages(&answer).find_map(|it| be32(value(it.content()?, NFTA_GEN_ID)?));
    number.ok_or_else(unreadable)
}

/// Whether there is a table of this name; where there is no nftables there is none.
///
/// # Errors
/// If the kernel does not answer.
pub(super) fn has_table(name: &str) -> io::Result<bool> {
    let answer = netfilter::ask(&Request {
        kind: GETTABLE,
        flags: 0,
        family: NFPROTO_INET,
        resource: 0,
        attributes: &[(NFTA_TABLE_NAME, &text(name))],
    })?;
    Ok(messages(&answer).any(|message| message.is(NEWTABLE)))
}

/// The named counters of a table.
///
/// # Errors
/// If there is no such table, or the kernel does not answer.
pub(super) fn counters(table: &str) -> io::Result<BTreeMap<String, Traffic>> {
    let which: [(u16, &[u8]); 2] =
        [(NFTA_OBJ_TABLE, &text(table)), (NFTA_OBJ_TYPE, &NFT_OBJECT_COUNTER.to_be_bytes())];
    let listed = netfilter::list(GETOBJ, NFPROTO_INET, &which, NEWOBJ)?;
    Ok(listed.iter().filter_map(|object| counter_in(object)).collect())
}

/// A counter's name and what it counted.
fn counter_in(object: &[u8]) -> Option<(String, Traffic)> {
    let name = text_in(value(object, NFTA_OBJ_NAME)?)?.to_owned();
    let counted = value(object, NFTA_OBJ_DATA)?;
    let number = |kind| value(counted, kind).and_then(be64).unwrap_or_default();
    let (packets, bytes) = (number(NFTA_COUNTER_PACKETS), number(NFTA_COUNTER_BYTES));
    Some((name, Traffic { packets, bytes }))
}

/// The chains of a table.
///
/// # Errors
/// If the kernel does not answer.
pub(super) fn chains(table: &str) -> io::Result<Vec<String>> {
    // It lists those of all tables.
    let listed = netfilter::list(GETCHAIN, NFPROTO_INET, &[], NEWCHAIN)?;
    let ours = listed
        .iter()
        .filter(|chain| value(chain, NFTA_CHAIN_TABLE).and_then(text_in) == Some(table));
    Ok(ours.filter_map(|chain| named(chain, NFTA_CHAIN_NAME)).collect())
}

/// The sets of a table.
///
/// # Errors
/// If there is no such table, or the kernel does not answer.
pub(super) fn sets(table: &str) -> io::Result<Vec<String>> {
    let listed = netfilter::list(GETSET, NFPROTO_INET, &[(NFTA_SET_TABLE, &text(table))], NEWSET)?;
    // Sets that rules have to themselves are sets too.
    Ok(listed.iter().filter_map(|set| named(set, NFTA_SET_NAME)).collect())
}

fn named(thing: &[u8], kind: u16) -> Option<String> {
    text_in(value(thing, kind)?).map(str::to_owned)
}

/// What a rule says, as far as we ask.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// The last set that it looks something up in.
    pub(super) set: Option<String>,
    /// The chain that it sends packets to.
    pub(super) chain: Option<String>,
}

/// The rules of a chain; none if there is no such chain.
///
/// # Errors
/// If the kernel does not answer.
pub(super) fn rules(table: &str, chain: &str) -> io::Result<Vec<Rule>> {
    let which: [(u16, &[u8]); 2] =
        [(NFTA_RULE_TABLE, &text(table)), (NFTA_RULE_CHAIN, &text(chain))];
    let listed = match netfilter::list(GETRULE, NFPROTO_INET, &which, NEWRULE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    Ok(listed.iter().map(|rule| rule_in(rule)).collect())
}

fn rule_in(rule: &[u8]) -> Rule {
    let mut read = Rule::default();
    let expressions = value(rule, NFTA_RULE_EXPRESSIONS).unwrap_or_default();
    for (_, expression) in attributes(expressions) {
        let data = value(expression, NFTA_EXPR_DATA).unwrap_or_default();
        match value(expression, NFTA_EXPR_NAME).and_then(text_in) {
            Some("lookup") => read.set = named(data, NFTA_LOOKUP_SET),
            Some("immediate") => read.chain = sent_to(data),
            _ => {}
        }
    }
    read
}

fn sent_to(immediate: &[u8]) -> Option<String> {
    let verdict = value(value(immediate, NFTA_IMMEDIATE_DATA)?, NFTA_DATA_VERDICT)?;
    named(verdict, NFTA_VERDICT_CHAIN)
}

/// An element of a set.
pub(super) struct Element {
    key: Vec<u8>,
    /// Milliseconds until the kernel forgets it.
    left: Option<u64>,
}

/// The elements of a set.
///
/// # Errors
/// If there is no such set, or the kernel does not answer.
pub(super) fn elements(table: &str, set: &str) -> io::Result<Vec<Element>> {
    let which: [(u16, &[u8]); 2] =
        [(NFTA_SET_ELEM_LIST_TABLE, &text(table)), (NFTA_SET_ELEM_LIST_SET, &text(set))];
    let listed = netfilter::list(GETSETELEM, NFPROTO_INET, &which, NEWSETELEM)?;
    Ok(listed.iter().flat_map(|list| elements_in(list)).collect())
}

fn elements_in(list: &[u8]) -> impl Iterator<Item = Element> {
    let elements = value(list, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    attributes(elements).filter_map(|(_, element)| {
        let key = value(value(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?;
        Some(Element {
            key: key.to_vec(),
            left: value(element, NFTA_SET_ELEM_EXPIRATION).and_then(be64),
        })
    })
}

impl Element {
    /// As a name.
    pub(super) fn name(&self) -> Option<&str> {
        text_in(&self.key)
    }

    /// As a peer: an address and a port, each in whole words.
    pub(super) fn peer(&self, now: BootTime) -> Option<Timed<SocketAddr>> {
        let (address, port) = match self.key.len() {
            8 => self
                .key
                .split_first_chunk()
                .map(|(it, port)| (IpAddr::V4(Ipv4Addr::from_octets(*it)), port))?,
            20 => self
                .key
                .split_first_chunk()
                .map(|(it, port)| (IpAddr::V6(Ipv6Addr::from_octets(*it)), port))?,
            _ => return None,
        };
        let port = u16::from_be_bytes(*port.first_chunk()?);
        let until = BootTime(now.0.saturating_add(self.left?.saturating_mul(1_000_000)));
        Some(Timed { value: SocketAddr::new(address, port), until: Some(until) })
    }
}

/// What a datagram lists of rules and of elements, for [`parsers`](crate::parsers).
pub(super) fn read(datagram: &[u8]) -> (Vec<Rule>, Vec<Element>) {
    let (mut rules, mut elements) = (Vec::new(), Vec::new());
    for message in messages(datagram) {
        match message.content() {
            Some(content) if message.is(NEWRULE) => rules.push(rule_in(content)),
            Some(content) if message.is(NEWSETELEM) => elements.extend(elements_in(content)),
            _ => {}
        }
    }
    (rules, elements)
}
