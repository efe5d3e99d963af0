//! `log`: recent drops, newest last; as JSON one document a line.

use std::time::Duration;

use geofilter_core::wire::{Document, Reply, Request};

use super::args::{self, Global};
use super::render::{self, Style};
use super::{Outcome, client, confused, failed, print_on};

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(args: &args::Log, global: &Global) -> Outcome {
    let request = Request::Log { follow: args.follow, country: args.country, reason: args.reason };
    let patience = (!args.follow).then_some(PATIENCE);
    let style = Style::choose(global);
    for reply in client::stream(&global.socket, &request, patience)? {
        let text = match reply? {
            Reply::Entry(entry) if global.json => json(Document::new(entry))?,
            Reply::Entry(entry) => render::entry(&entry, style),
            Reply::Skipped(entries) if global.json => {
                json(Document::new(serde_json::json!({ "skipped": entries })))?
            }
            Reply::Skipped(entries) => format!("({entries} more were skipped here)\n"),
            Reply::Status(_)
            | Reply::Changed(_)
            | Reply::Why(_)
            | Reply::Preview(_)
            | Reply::Sources(_)
            | Reply::Geodata(_)
            | Reply::Records(_)
            | Reply::Noted(_)
            | Reply::Protected(_)
            | Reply::Evidence(_)
            | Reply::Peers(_)
            | Reply::Fleet(_)
            | Reply::Error(_) => return Err(confused()),
        };
        if !print_on(&text)? {
            break;
        }
    }
    Ok(())
}

fn json<T: serde::Serialize>(
    document: Document<T>,
) -> Result<String, geofilter_core::wire::Failure> {
    let json = serde_json::to_string(&document);
    json.map(|json| json + "\n").map_err(|error| failed(format!("cannot write JSON: {error}")))
}
