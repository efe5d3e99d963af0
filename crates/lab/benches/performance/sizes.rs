//! What a packet costs by the size of the table: ours, and those of others that search one.

use anyhow::Result;
use geofilter_core::decide::Overrides;
use geofilter_dataplane::Preference;
use geofilter_lab::gun::Draw;
use geofilter_lab::rivals::Rival;
use geofilter_lab::rivals::lists::Family;

use crate::compare::{Case, measure};
use crate::data::Data;
use crate::host::Filter;
use crate::plots::Line;

/// Blocked ranges; after these comes the whole world.
const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];
const FILTERS: [Filter; 3] =
    [Filter::Ours(Preference::Xdp), Filter::Rival(Rival::MergedSet), Filter::Rival(Rival::Ipset)];

/// Measures all of it: what each size is called, and a line for each filter.
pub(crate) fn measure_all(full: &Data) -> Result<(Vec<String>, Vec<Line>)> {
    let thinned = SIZES.map(|count| full.thinned(count));
    let worlds = thinned.into_iter().collect::<Result<Vec<_>>>()?;
    let names = SIZES.iter().map(ToString::to_string).chain(["the world".to_owned()]).collect();
    let mut lines =
        FILTERS.map(|filter| Line { name: filter.name().to_owned(), costs: Vec::new() });
    let nothing = Overrides::default();
    for data in worlds.iter().chain([full]) {
        let senders = data.senders(&mut Draw::new(&data.world), Family::V4);
        let case = |filter: Filter| Case {
            name: filter.name().to_owned(),
            filter,
            data,
            overrides: &nothing,
            senders: &senders,
        };
        for (line, costs) in lines.iter_mut().zip(measure(FILTERS.map(case), false)?) {
            line.costs.push(costs.spread().median * 1e9);
        }
    }
    Ok((names, lines.into()))
}
