//! [`Memory`]: a backend that holds the desired state and touches no kernel, for tests of what lies above.

use geofilter_core::counters::Counters;
use geofilter_core::desired::{Attachment, AttachmentKind, Desired, Observed};
use geofilter_core::event::DropEvent;
use geofilter_core::world::World;

use crate::{Backend, Error};

/// Holds what it is given.
#[derive(Debug)]
pub struct Memory {
    interfaces: Vec<String>,
    held: Option<Desired>,
}

impl Memory {
    /// A backend that pretends to sit on these interfaces.
    pub fn new(interfaces: Vec<String>) -> Self {
        Self { interfaces, held: None }
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
    fn attach(&mut self, _world: &World, desired: &Desired) -> Result<Observed, Error> {
        self.held = Some(desired.clone());
        Ok(self.observed(desired))
    }

    fn apply(&mut self, desired: &Desired) -> Result<Observed, Error> {
        if self.held.is_none() {
            return Err(Error::NotAttached { operation: "apply a policy" });
        }
        self.held = Some(desired.clone());
        Ok(self.observed(desired))
    }

    fn swap_world(&mut self, _world: &World) -> Result<(), Error> {
        match self.held {
            Some(_) => Ok(()),
            None => Err(Error::NotAttached { operation: "swap the world table" }),
        }
    }

    fn observe(&mut self) -> Result<Option<Observed>, Error> {
        Ok(self.held.as_ref().map(|desired| self.observed(desired)))
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        match self.held {
            Some(_) => Ok(Counters::default()),
            None => Err(Error::NotAttached { operation: "read the counters" }),
        }
    }

    fn drain_events(&mut self, _sink: &mut dyn FnMut(DropEvent)) -> Result<(), Error> {
        Ok(())
    }

    fn detach(&mut self) -> Result<(), Error> {
        self.held = None;
        Ok(())
    }
}
