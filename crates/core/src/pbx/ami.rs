//! What Asterisk's manager interface (AMI) says: [`events`] reads the events of a list, the other
//! functions what they tell. Values are not cut, as the command line cuts them.

use std::collections::{BTreeMap, BTreeSet};

use super::asterisk::REGISTERED;
use super::{Device, How, MOST, Trunk};

/// One event, by the names of its fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event(BTreeMap<String, String>);

/// The fields that are of use. Whatever else an event holds, such as the password of a registration, is
/// not kept.
const KEPT: [&str; 10] = [
    "Event",
    "ObjectName",
    "Endpoint",
    "Uri",
    "UserAgent",
    "Contacts",
    "ServerUri",
    "OutboundProxy",
    "Response",
    "Status",
];

impl Event {
    /// A field, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// The events in what the manager sent, and its responses as events without that field.
pub fn events(text: &str) -> Vec<Event> {
    let mut events = vec![Event::default()];
    for line in text.split('\n').map(|line| line.trim_end_matches('\r')) {
        if line.is_empty() {
            if events.len() >= MOST {
                break;
            }
            events.push(Event::default());
        } else if let (Some((name, value)), Some(event)) = (line.split_once(':'), events.last_mut())
            && KEPT.contains(&name)
        {
            // The first counts: what follows could be made up by a value with a line end in it.
            let value = value.trim_start().to_owned();
            event.0.entry(name.to_owned()).or_insert(value);
        }
    }
    events.retain(|event| !event.0.is_empty());
    events
}

/// `PJSIPShowContacts`: who registered, as the URI and the device at it.
pub fn registered(events: &[Event]) -> Vec<(String, Option<Device>)> {
    let contacts = events.iter().filter(|event| event.field("Event") == "ContactList");
    let contact = |event: &Event| {
        let name = event.field("ObjectName");
        let aor = name.rsplit_once(";@").map_or(name, |(aor, _)| aor);
        let endpoint = Some(event.field("Endpoint")).filter(|name| !name.is_empty());
        let uri = event.field("Uri");
        let device = Device::at(endpoint.unwrap_or(aor), uri, event.field("UserAgent"));
        (format!("{aor}/{uri}"), device)
    };
    contacts.map(contact).collect()
}

/// `PJSIPShowAors`: the contacts that nobody registered. The list names both kinds, so it must be asked for
/// between two lists of those registered: of one that came or went meanwhile one of the two tells.
pub fn static_contacts(aors: &[Event], registered: &[(String, Option<Device>)]) -> Vec<Trunk> {
    let registered: BTreeSet<&str> = registered.iter().map(|(uri, _)| uri.as_str()).collect();
    let aors = aors.iter().filter(|event| event.field("Event") == "AorList");
    aors.filter_map(|aor| static_contacts_of(aor, &registered)).collect()
}

fn static_contacts_of(aor: &Event, registered: &BTreeSet<&str>) -> Option<Trunk> {
    let name = aor.field("ObjectName");
    let start = format!("{name}/");
    let mut contacts = aor.field("Contacts").to_owned();
    // A URI may hold a comma. So those that a device chose are taken out whole, before it is split.
    for uri in registered.iter().filter(|uri| uri.starts_with(&start) && uri.contains(',')) {
        contacts = contacts.replace(uri, "");
    }
    let mut trunk = Trunk::new(name, How::StaticContact);
    let chosen = contacts.split(',').filter(|contact| !registered.contains(contact));
    for uri in chosen.filter_map(|contact| contact.strip_prefix(&start)) {
        trunk.lead(uri);
    }
    if trunk.addresses.is_empty() && trunk.hosts.is_empty() {
        return None;
    }
    trunk.lead(aor.field("OutboundProxy"));
    Some(trunk)
}

/// `PJSIPShowRegistrationsOutbound`: where Asterisk registers. The list holds passwords; they are not kept.
pub fn registrations(events: &[Event]) -> Vec<Trunk> {
    let events = events.iter().filter(|event| event.field("Event") == "OutboundRegistrationDetail");
    let trunk = |event: &Event| {
        let mut trunk = Trunk::new(event.field("ObjectName"), How::Registration);
        trunk.registered = Some(event.field("Status") == REGISTERED);
        trunk.lead(event.field("ServerUri"));
        trunk.lead(event.field("OutboundProxy"));
        trunk
    };
    events.map(trunk).collect()
}

/// The text of a `Command` action's answer; `None` if it was refused.
pub fn output(answer: &str) -> Option<String> {
    let lines = answer.lines().map(|line| line.trim_end_matches('\r'));
    let mut accepted = false;
    let mut output = String::new();
    for line in lines {
        accepted |= line == "Response: Success";
        if let Some(line) = line.strip_prefix("Output:") {
            output.push_str(line.strip_prefix(' ').unwrap_or(line));
            output.push('\n');
        }
    }
    accepted.then_some(output)
}
