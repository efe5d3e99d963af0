//! [`Trusted`]: what the agent takes from a PBX for the filter: whom it never cuts, and who came first.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::{Device, Pbx};
use crate::book::{Kind, Target};
use crate::decide::{is_global, is_private};

/// What the PBXs of a host know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trusted {
    /// Where they call or register, as far as that is written as addresses.
    pub trunks: BTreeSet<SocketAddr>,
    /// Where calls come from without a password, trunks by TCP, and the names of trunks that DNS knows.
    pub exemptions: BTreeSet<Target>,
    /// Where devices are registered.
    pub registered: BTreeSet<IpAddr>,
    /// The same with who they are.
    pub devices: Vec<Device>,
    /// How many devices are registered with a private address: they are at home, or behind NAT elsewhere.
    pub private: usize,
    /// At how many trunks the PBX is registered.
    pub registrations: usize,
}

impl Trusted {
    /// What these know, and whether all of them could be asked; `None` if there is none. Those in network
    /// namespaces of their own are left out: whose they are is not known.
    pub fn of(pbxs: &[Pbx]) -> Option<(Self, bool)> {
        let pbxs: Vec<&Pbx> = pbxs.iter().filter(|pbx| !pbx.container).collect();
        let asked = pbxs.iter().all(|pbx| pbx.transports.is_some());
        let (mut trusted, mut private) = (Self::default(), BTreeSet::new());
        for pbx in &pbxs {
            let trunks = pbx.trunk_addresses().into_iter();
            trusted.trunks.extend(trunks.filter(|trunk| is_global(trunk.ip())));
            trusted.exemptions.extend(targets(pbx));
            let registered = pbx.registered_addresses().into_iter();
            trusted.registered.extend(registered.filter(|address| is_global(*address)));
            let devices = pbx.devices.iter().filter(|device| is_global(device.address.ip()));
            trusted.devices.extend(devices.cloned());
            let registrations = pbx.trunks.iter().filter(|trunk| trunk.registered == Some(true));
            trusted.registrations += registrations.count();
            private.extend(pbx.devices.iter().filter_map(|device| {
                is_private(device.address.ip()).then_some((&device.endpoint, device.address))
            }));
        }
        trusted.private = private.len();
        trusted.devices.sort_by(by_endpoint);
        trusted.devices.dedup();
        (!pbxs.is_empty()).then_some((trusted, asked))
    }

    /// With what was known before, where what these are of was not all there is to say.
    #[must_use]
    pub fn and_before(mut self, before: Self) -> Self {
        self.trunks.extend(before.trunks);
        self.exemptions.extend(before.exemptions);
        self.registered.extend(before.registered);
        self.devices.extend(before.devices);
        self.private = self.private.max(before.private);
        self.registrations = self.registrations.max(before.registrations);
        self.devices.sort_by(by_endpoint);
        self.devices.dedup();
        self
    }

    /// Whether an address is one of the trunks'.
    pub fn is_trunk(&self, address: IpAddr) -> bool {
        self.trunks.iter().any(|trunk| trunk.ip() == address)
    }
}

fn by_endpoint(one: &Device, other: &Device) -> Ordering {
    (&one.endpoint, one.address).cmp(&(&other.endpoint, other.address))
}

/// What can't be exempted, private space say, needs no exemption.
fn targets(pbx: &Pbx) -> impl Iterator<Item = Target> {
    let prefixes = pbx.identified_prefixes().into_iter().map(|prefix| prefix.to_string());
    let names = pbx.trunk_hosts().into_iter().map(|host| host.name);
    let by_tcp = pbx.trunks.iter().flat_map(|trunk| &trunk.by_tcp).map(ToString::to_string);
    prefixes
        .chain(names)
        .chain(by_tcp)
        .filter_map(|text| Target::parse(&text, Kind::Exemption).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pbx::{How, Kind as PbxKind, Trunk};

    #[test]
    fn trunks_devices_and_identifies_are_told_apart_and_what_is_local_is_left_out() {
        let mut trunk = Trunk::new("provider", How::StaticContact);
        trunk.lead("sip:1.0.1.7:5080");
        trunk.lead("sip:10.0.0.7:5060");
        trunk.lead("sip:sip.provider.example");
        trunk.lead("sip:1.0.1.8;transport=tls");
        let mut identify = Trunk::new("provider", How::Identify);
        identify.prefixes = ["1.0.2.0/24", "10.0.0.0/24", "0.0.0.0/0", "1.0.0.0/12"]
            .map(|prefix| prefix.parse().unwrap())
            .to_vec();
        let devices = ["sip:1001@1.0.3.3:5062", "sip:1002@192.168.1.2"];
        let devices = devices.iter().filter_map(|uri| Device::at("1001", uri, "")).collect();
        let pbx = Pbx {
            trunks: vec![trunk, identify],
            devices,
            transports: Some(Vec::new()),
            ..Pbx::new(PbxKind::Asterisk)
        };
        let (trusted, asked) = Trusted::of(std::slice::from_ref(&pbx)).unwrap();
        assert!(asked && trusted.is_trunk([1, 0, 1, 7].into()));
        assert_eq!(
            trusted.trunks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["1.0.1.7:5080", "1.0.1.8:5061"]
        );
        let exemptions: Vec<_> = trusted.exemptions.iter().map(ToString::to_string).collect();
        assert_eq!(exemptions, ["1.0.1.8", "1.0.2.0/24", "sip.provider.example"]);
        assert_eq!(trusted.registered, [IpAddr::from([1, 0, 3, 3])].into());
        assert_eq!((trusted.devices.len(), trusted.private), (1, 1));
        let silent = Pbx { transports: None, ..pbx.clone() };
        assert_eq!(Trusted::of(&[pbx.clone(), silent.clone()]), Some((trusted.clone(), false)));
        let hanging = Pbx { trunks: Vec::new(), devices: Vec::new(), ..silent };
        let (nothing, _) = Trusted::of(&[hanging]).unwrap();
        assert_eq!(nothing.and_before(trusted.clone()), trusted);
        assert_eq!(Trusted::of(&[Pbx { container: true, ..pbx }]), None);
    }
}
