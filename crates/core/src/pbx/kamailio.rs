//! What Kamailio says to `core.version`, `core.sockets_list`, `ul.dump` and `dispatcher.list`, as read by
//! [`binrpc`](super::binrpc).

use super::binrpc::{Item, Value};
use super::{Carrier, Device, How, MOST, SipTransport, Trunk, printable, uri};

/// `core.version`: `kamailio 5.6.3 (x86_64/linux)`.
pub fn version(items: &[Item]) -> Option<String> {
    let (_, Value::Text(text)) = items.first()? else { return None };
    text.strip_prefix("kamailio ")?.split_whitespace().next().map(printable)
}

/// `core.sockets_list`: where it listens.
pub fn transports(items: &[Item]) -> Vec<SipTransport> {
    let transport = |fields: &[Item]| {
        let carrier = Carrier::parse(text(fields, "proto")?)?;
        let address = text(fields, "address")?.trim_matches(['[', ']']).parse().ok()?;
        let bind = std::net::SocketAddr::new(address, text(fields, "port")?.parse().ok()?);
        Some(SipTransport { name: bind.to_string(), carrier, bind })
    };
    structures(items, "socket").filter_map(transport).take(MOST).collect()
}

/// `ul.dump`: who registered. Behind NAT `Received` is the source of the packets.
pub fn devices(items: &[Item]) -> Vec<Device> {
    let mut devices = Vec::new();
    for aor in structures(items, "Info") {
        let name = text(aor, "AoR").unwrap_or_default();
        for contact in structures(aor, "Contact") {
            let received = text(contact, "Received").filter(|uri| uri::host(uri).is_some());
            let Some(uri) = received.or_else(|| text(contact, "Address")) else { continue };
            let user_agent = text(contact, "User-Agent").unwrap_or_default();
            devices.extend(Device::at(name, uri, user_agent));
        }
    }
    devices.truncate(MOST);
    devices
}

/// `dispatcher.list`: where it sends calls to, a trunk for each set.
pub fn dispatched(items: &[Item]) -> Vec<Trunk> {
    let trunk = |set: &[Item]| {
        let number = set.iter().find_map(|(name, value)| match value {
            Value::Number(number) if name == "ID" => Some(*number),
            _ => None,
        })?;
        let mut trunk = Trunk::new(&format!("dispatcher set {number}"), How::StaticContact);
        let uris = set.iter().filter(|(name, _)| name == "URI");
        for (_, value) in uris {
            if let Value::Text(uri) = value {
                trunk.lead(uri);
            }
        }
        Some(trunk)
    };
    structures(items, "SET").filter_map(trunk).take(MOST).collect()
}

/// The structures of this name, each with what follows it, up to the next one of the name.
fn structures<'a>(items: &'a [Item], name: &'a str) -> impl Iterator<Item = &'a [Item]> {
    let opens = move |(other, value): &Item| other == name && *value == Value::Open;
    let starts = items.iter().enumerate().filter(move |(_, item)| opens(item));
    starts.map(move |(start, _)| {
        let rest = &items[start + 1..];
        let end = rest.iter().position(opens).unwrap_or(rest.len());
        &rest[..end]
    })
}

fn text<'a>(fields: &'a [Item], name: &str) -> Option<&'a str> {
    fields.iter().find_map(|(other, value)| match value {
        Value::Text(text) if other == name => Some(text.as_str()),
        _ => None,
    })
}
