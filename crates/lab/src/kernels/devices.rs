//! [`Interface`]: the kinds of interface that a kernel is asked to filter on, and what each is filtered by.

use std::process::Command;

use anyhow::{Result, ensure};
use geofilter_core::world::World;

use crate::addresses::Addresses;
use crate::devices::Device;
use crate::namespace::succeed;

/// What a kernel has not that was built without it.
pub const ABSENT: &str = "not there";

/// A kind of interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// What tables call it.
    pub name: &'static str,
    device: Device,
    /// Whether the card below the device is protected, in place of the device.
    below: bool,
    /// By `--backend`, and what that comes to.
    takes: &'static [(&'static str, &'static str)],
}

const TAKES: &[(&str, &str)] = &[("auto", "tc"), ("clsact", "tc"), ("nft", "nft")];
const CARD_TAKES: &[(&str, &str)] = &[("xdp", "xdp-native"), ("tc", "tc"), ("clsact", "tc")];
const APART: Device = Device::Vlan { offload: true };
const IN_FRAME: Device = Device::Vlan { offload: false };

const fn plain(name: &'static str, device: Device) -> Interface {
    Interface { name, device, below: false, takes: TAKES }
}

const fn below(name: &'static str, device: Device) -> Interface {
    Interface { name, device, below: true, takes: CARD_TAKES }
}

/// All of them.
pub const INTERFACES: [Interface; 8] = [
    plain("tun", Device::Tun),
    plain("ppp", Device::Ppp),
    plain("bridge", Device::Bridge),
    plain("macvlan", Device::Macvlan),
    plain("VLAN, tags apart", APART),
    plain("VLAN, tags in the frame", IN_FRAME),
    below("card below a VLAN, tags apart", APART),
    below("card below a VLAN, tags in the frame", IN_FRAME),
];

impl Interface {
    /// Whether this kernel may be without it.
    pub fn may_be_absent(&self) -> bool {
        self.device == Device::Ppp
    }

    /// Filters there in every way, and says by what.
    ///
    /// # Errors
    /// If anything arrives that should not, or something else took it.
    pub fn check(&self, world: &World) -> Result<String> {
        let is_there = || succeed(Command::new("modprobe").arg("ppp_async")).is_ok();
        if self.may_be_absent() && !is_there() {
            return Ok(ABSENT.to_owned());
        }
        let addresses = Addresses::new(world);
        let mut kinds = Vec::new();
        for (asked, taken) in self.takes {
            let (kind, _) = match self.below {
                false => self.device.filters(asked, &addresses)?,
                true => self.device.filters_below(asked, &addresses)?,
            };
            ensure!(kind == *taken, "{asked} came to {kind}");
            kinds.push(format!("{asked}: {kind}"));
        }
        Ok(kinds.join(", "))
    }
}
