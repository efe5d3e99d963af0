//! What is printed of the world data.

use geofilter_core::wire::{Data, Geodata, PortalData, PortalDataProgress, UpdateOutcome};

use super::render::{Style, row};

/// `geodb status`.
pub(super) fn state(geodata: &Geodata, style: Style) -> String {
    let Geodata { data, embedded, previous, held, running, last, next, portal } = geodata;
    let mut text = String::new();
    if *embedded {
        row(&mut text, "Data", "what came with the program");
    }
    for source in &data.sources {
        row(&mut text, "Source", &format!("{} {}", source.name, source.date));
        row(&mut text, "", &format!("{} ({})", source.credit, source.licence));
        if !source.link.is_empty() {
            row(&mut text, "", &source.link);
        }
    }
    if let Some(PortalData { portal, digest, progress }) = portal {
        let how = match progress {
            PortalDataProgress::InUse => "it is in use",
            PortalDataProgress::Held => "it is held here",
            PortalDataProgress::Comes => "it comes by itself within a while",
            PortalDataProgress::Asked => "`geodb update` brings it",
            PortalDataProgress::PassedOver => {
                "other data was chosen here, and `geodb update` brings it"
            }
        };
        let digest: String = digest.chars().take(12).collect();
        row(&mut text, "From", &format!("the portal {portal}, which serves {digest}: {how}"));
    }
    row(&mut text, "Ranges", &format!("{} IPv4, {} IPv6", data.ipv4_ranges, data.ipv6_ranges));
    if let Some(previous) = previous {
        row(
            &mut text,
            "Before",
            &format!("{}, which `geodb rollback` uses again", edition(previous)),
        );
    }
    if let Some(held) = held {
        row(&mut text, "Held", &style.yellow(&edition(&held.data)));
        held.reasons.iter().for_each(|reason| row(&mut text, "", reason));
        row(&mut text, "", "`geodb approve` uses it");
    }
    if running.is_some() {
        row(&mut text, "Update", "runs now");
    } else if let Some(last) = last {
        let outcome = match last.outcome {
            UpdateOutcome::Used => "what was new is in use",
            UpdateOutcome::Same => "nothing was new",
            UpdateOutcome::Held => "what was new is held",
            UpdateOutcome::Failed => "failed",
        };
        row(&mut text, "Update", &format!("{}: {outcome}", last.time));
        last.why.iter().for_each(|why| row(&mut text, "", why));
    }
    if let Some(next) = next {
        row(&mut text, "Next", next);
    }
    text
}

fn edition(data: &Data) -> String {
    let first = data.sources.first();
    first.map_or_else(String::new, |source| format!("{} {}", source.name, source.date))
}
