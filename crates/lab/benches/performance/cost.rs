//! What a packet costs: ours beside others, a large world beside a small one, IPv6 beside IPv4.

use anyhow::Result;
use geofilter_dataplane::Preference;
use geofilter_lab::gun::Draw;
use geofilter_lab::rivals::Rival;
use geofilter_lab::rivals::lists::Family;

use crate::compare::{Case, Costs, measure};
use crate::data::{Data, overrides};
use crate::host::Filter;
use crate::report::{Bound, Goal, Report, Unit};

const XDP: Filter = Filter::Ours(Preference::Xdp);
const TC: Filter = Filter::Ours(Preference::Tc);
/// Exemptions, bans and peers that ours knows.
const FEATURES: [usize; 3] = [100, 10_000, 1_000];
/// Ranges of the small world.
const FEW: u32 = 100;

const fn times(measure: &'static str, must: Bound, stretch: Bound) -> Goal {
    Goal { measure, unit: Unit::Times, must, stretch }
}

const MERGED_SET: Goal =
    times("nftables, one merged set : XDP", Bound::AtLeast(7.0), Bound::AtLeast(9.0));
const GEOIP_SHELL_ALLOW: Goal =
    times("geoip-shell, allowing 3 countries : XDP", Bound::AtLeast(15.0), Bound::Any);
const GEOIP_SHELL_BLOCK: Goal =
    times("geoip-shell, blocking 247 countries : XDP", Bound::AtLeast(400.0), Bound::Any);
const IPSET: Goal = times("iptables with ipset : XDP", Bound::AtLeast(15.0), Bound::Any);
const WORLD_MAP: Goal = times("nftables, map of the world : XDP", Bound::Any, Bound::Any);
const NOTHING: Goal = times("no filter : XDP", Bound::AtLeast(5.0), Bound::AtLeast(6.5));
const DROP: Goal = times("XDP : XDP that drops at once", Bound::AtMost(1.6), Bound::AtMost(1.35));
const TC_MERGED_SET: Goal =
    times("nftables, one merged set : TC", Bound::AtLeast(1.5), Bound::AtLeast(2.0));
const TC_NOTHING: Goal = times("no filter : TC", Bound::AtLeast(1.0), Bound::Any);
const RANGES: Goal =
    times("full world : world of 100 ranges", Bound::AtMost(1.6), Bound::AtMost(1.3));
const FAMILIES: Goal = times("IPv6 : IPv4", Bound::AtMost(1.5), Bound::AtMost(1.2));

/// Measures all of it, and returns what ours by XDP costs beside each other filter.
pub(crate) fn measure_all(data: &Data, report: &mut Report) -> Result<Vec<Costs>> {
    let few = Data::coarse(FEW)?;
    let mut draw = Draw::new(&data.world);
    let [v4, v6] = Family::ALL.map(|family| data.senders(&mut draw, family));
    let known = overrides(&mut draw, &v4, FEATURES);
    let on = |filter: Filter| Case {
        name: filter.name().to_owned(),
        filter,
        data,
        overrides: &known,
        senders: &v4,
    };
    let hosts = [
        on(XDP),
        on(TC),
        on(Filter::DropAtOnce),
        on(Filter::Nothing),
        on(Filter::Rival(Rival::MergedSet)),
        on(Filter::Rival(Rival::WorldMap)),
        on(Filter::Rival(Rival::Ipset)),
        on(Filter::Rival(Rival::GeoipShellAllow)),
        on(Filter::Rival(Rival::GeoipShellBlock)),
        Case { name: "GeoFilter, XDP, IPv6".to_owned(), senders: &v6, ..on(XDP) },
    ];
    let [xdp, tc, drop, nothing, merged, map, ipset, allow, block, xdp_v6] = measure(hosts, true)?;
    merged.compare(&xdp, MERGED_SET, report);
    allow.compare(&xdp, GEOIP_SHELL_ALLOW, report);
    block.compare(&xdp, GEOIP_SHELL_BLOCK, report);
    ipset.compare(&xdp, IPSET, report);
    map.compare(&xdp, WORLD_MAP, report);
    nothing.compare(&xdp, NOTHING, report);
    xdp.compare(&drop, DROP, report);
    merged.compare(&tc, TC_MERGED_SET, report);
    nothing.compare(&tc, TC_NOTHING, report);
    xdp_v6.compare(&xdp, FAMILIES, report);
    report.note(
        "Before they were timed, ours (XDP and TC) and every rival gave the oracle's verdict on 20,000 IPv4 and \
         5,000 IPv6 sources, at the ends and in the middle of ranges all over the announced space.",
    );

    // On hosts of their own: 100 ranges say nothing of addresses that the check asks about.
    let small = Case { name: format!("{FEW} ranges"), data: &few, ..on(XDP) };
    let full = Case { name: "full world".to_owned(), ..on(XDP) };
    let [small, full] = measure([small, full], false)?;
    full.compare(&small, RANGES, report);

    let all = vec![drop, xdp, xdp_v6, tc, nothing, merged, map, allow, ipset, block];
    for costs in &all {
        report.add_cost(&costs.name, costs.spread());
    }
    Ok(all)
}
