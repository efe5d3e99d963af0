//! What the trunks of the PBX need: most of them nothing, since the agent knows them as the PBX does.

use std::collections::BTreeSet;

use super::Around;
use super::document::{Exempted, TrunkSeen};
use super::told::note;
use crate::book::{Kind, Target};
use crate::decide::{decide_source, is_global};
use crate::pbx::{Pbx, Trunk, is_too_wide, printable};
use crate::policy::{Policy, Verdict};
use crate::world::World;

/// How many trunks are told.
const TOLD: usize = 100;

fn of(around: &Around) -> impl Iterator<Item = (&Pbx, &Trunk)> {
    let pbxs = around.pbxs.iter().flatten();
    pbxs.flat_map(|pbx| pbx.trunks.iter().map(move |trunk| (pbx, trunk)))
}

/// Every trunk, and whether the agent lets it in by itself.
pub(super) fn seen(around: &Around) -> Vec<TrunkSeen> {
    let seen = of(around).take(TOLD).map(|(pbx, trunk)| {
        let wide = trunk.prefixes.iter().find(|prefix| is_too_wide(prefix));
        let remark = match (pbx.container, wide) {
            (true, _) => Some("its PBX is in a container, which the agent does not ask".to_owned()),
            (false, Some(prefix)) => Some(format!(
                "it takes calls from {prefix}, too wide to be exempt: name the provider's own prefixes"
            )),
            (false, None) => None,
        };
        TrunkSeen {
            name: printable(&trunk.name),
            places: places(trunk),
            passes_by_itself: remark.is_none(),
            remark,
        }
    });
    seen.collect()
}

fn places(trunk: &Trunk) -> Vec<String> {
    let prefixes = trunk.prefixes.iter().map(ToString::to_string);
    let addresses = trunk.addresses.iter().map(ToString::to_string);
    prefixes.chain(addresses).chain(trunk.hosts.iter().map(ToString::to_string)).collect()
}

/// Trunks of PBXs that the agent does not ask.
pub(super) fn exemptions(around: &Around) -> Vec<Exempted> {
    let mut known = BTreeSet::new();
    let mut exemptions = Vec::new();
    for (_, trunk) in of(around).filter(|(pbx, _)| pbx.container) {
        let prefixes = trunk.prefixes.iter().filter(|it| !is_too_wide(it)).map(ToString::to_string);
        let addresses = trunk.addresses.iter().map(|address| address.ip().to_string());
        let names = trunk.hosts.iter().map(|host| host.name.to_string());
        for place in prefixes.chain(addresses).chain(names) {
            // An address may be there as a prefix too.
            let Ok(target) = Target::parse(&place, Kind::Exemption).map(|it| it.to_string()) else {
                continue;
            };
            if known.insert(target.clone()) && exemptions.len() < TOLD {
                exemptions.push(Exempted {
                    target,
                    note: note(&trunk.name),
                    why: format!("the trunk {} of a PBX in a container", printable(&trunk.name)),
                });
            }
        }
    }
    exemptions
}

/// Trunks that would be dropped if the agent did not know them.
pub(super) fn warnings(around: &Around, policy: Option<&Policy>, world: &World) -> Option<String> {
    let policy = policy?;
    let dropped = |trunk: &Trunk| {
        let fixed = trunk.addresses.iter().map(|address| address.ip());
        let mut all = fixed.chain(trunk.prefixes.iter().map(ipnet::IpNet::network));
        all.any(|address| {
            is_global(address) && decide_source(address, policy, world).verdict == Verdict::Drop
        })
    };
    let trunks = of(around).filter(|(pbx, trunk)| !pbx.container && dropped(trunk));
    let mut names: Vec<String> = trunks.map(|(_, trunk)| printable(&trunk.name)).collect();
    names.dedup();
    (!names.is_empty()).then(|| {
        format!(
            "this policy would drop the trunks {} if the agent did not know them: it does, by asking the PBX (`geofilter preview` with the same countries names whom it would cut)",
            names.join(", ")
        )
    })
}
