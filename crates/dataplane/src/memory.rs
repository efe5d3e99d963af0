//! [`Memory`]: a backend that holds the desired state and touches no kernel, for tests of what lies above.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use geofilter_core::clock::Clock;
use geofilter_core::counters::Counters;
use geofilter_core::decide::Timed;
use geofilter_core::desired::{Attachment, AttachmentKind, BootTime, Desired, Observed};
use geofilter_core::event::DropEvent;
use geofilter_core::overrides::{AddressKey, Spans, Table};
use geofilter_core::seen::Count;
use geofilter_core::world::World;

use crate::{Backend, Error};

/// Holds what it is given.
#[derive(Debug)]
pub struct Memory {
    interfaces: Vec<String>,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    desired: Desired,
    overrides: Table,
    peers: HashMap<SocketAddr, BootTime>,
    contacts: HashSet<AddressKey>,
}

impl Memory {
    /// A backend that pretends to sit on these interfaces.
    pub fn new(interfaces: Vec<String>) -> Self {
        Self { interfaces, held: None }
    }

    fn held(&mut self, operation: &'static str) -> Result<&mut Held, Error> {
        self.held.as_mut().ok_or(Error::NotAttached { operation })
    }

    fn observed(&self, desired: &Desired) -> Observed {
        let attachment = |interface: &String| Attachment {
            interface: interface.clone(),
            kind: AttachmentKind::Memory,
        };
        Observed {
            attachments: self.interfaces.iter().map(attachment).collect(),
            active: (desired.active.generation, desired.active.action),
            fallback: desired.fallback.as_ref().map(|fallback| {
                (fallback.bank.generation, fallback.bank.action, fallback.deadline)
            }),
            warnings: Vec::new(),
        }
    }
}

impl Backend for Memory {
    fn attach(
        &mut self,
        _world: &World,
        overrides: &Table,
        desired: &Desired,
        _clock: Clock,
    ) -> Result<Observed, Error> {
        self.held = Some(Held {
            desired: desired.clone(),
            overrides: overrides.clone(),
            peers: HashMap::new(),
            contacts: HashSet::new(),
        });
        Ok(self.observed(desired))
    }

    fn apply(&mut self, desired: &Desired, _clock: Clock) -> Result<Observed, Error> {
        self.held("apply a policy")?.desired = desired.clone();
        Ok(self.observed(desired))
    }

    fn swap_world(&mut self, _world: &World) -> Result<(), Error> {
        self.held("swap the world table").map(drop)
    }

    fn set_overrides(&mut self, overrides: &Table) -> Result<(), Error> {
        self.held("set the overrides")?.overrides = overrides.clone();
        Ok(())
    }

    fn set_addresses(&mut self, changes: &[(AddressKey, Spans)]) -> Result<(), Error> {
        let overrides = &mut self.held("set addresses")?.overrides;
        changes.iter().for_each(|(key, spans)| overrides.set(*key, *spans));
        Ok(())
    }

    fn set_contacts(&mut self, contacts: &HashSet<AddressKey>) -> Result<(), Error> {
        self.held("set the contacts")?.contacts = contacts.clone();
        Ok(())
    }

    fn peers(&mut self) -> Result<Vec<Timed<SocketAddr>>, Error> {
        let peers = &self.held("read the peers")?.peers;
        let timed =
            |(peer, until): (&SocketAddr, &BootTime)| Timed { value: *peer, until: Some(*until) };
        Ok(peers.iter().map(timed).collect())
    }

    fn set_peer(&mut self, peer: SocketAddr, until: BootTime) -> Result<(), Error> {
        self.held("set a peer")?.peers.insert(peer, until);
        Ok(())
    }

    fn remove_peer(&mut self, peer: SocketAddr) -> Result<bool, Error> {
        Ok(self.held("remove a peer")?.peers.remove(&peer).is_some())
    }

    fn observe(&mut self) -> Result<Option<Observed>, Error> {
        Ok(self.held.as_ref().map(|held| self.observed(&held.desired)))
    }

    fn mend(&mut self) -> Result<Vec<String>, Error> {
        self.held("look at what is attached").map(|_| Vec::new())
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        self.held("read the counters").map(|_| Counters::default())
    }

    fn sources(&mut self) -> Result<Vec<Count>, Error> {
        self.held("read who sends packets").map(|_| Vec::new())
    }

    fn drain_events(&mut self, _: BootTime, _sink: &mut dyn FnMut(DropEvent)) -> Result<(), Error> {
        Ok(())
    }

    fn detach(&mut self) -> Result<(), Error> {
        self.held = None;
        Ok(())
    }
}
