//! What people read of a preview: whom a change would cut, then what share of what was seen. Of logs,
//! [`render_preview_log`] tells.

use std::collections::BTreeMap;
use std::fmt::Write;

use geofilter_core::change::Risk;
use geofilter_core::wire::{Cut, Kept, Preview, PreviewCountry, Selection, Share, Who};

use super::render::{Style, TOP, country, number, row, share, warnings};
use super::render_preview_log;
use super::render_records::count;

/// How many of those who would be cut are named.
const NAMED: usize = 10;

/// `preview`.
pub(crate) fn preview(preview: &Preview, style: Style) -> String {
    if let (Some(attempts), Some(log)) = (&preview.attempts, &preview.log) {
        return render_preview_log::preview(preview, attempts, log, style);
    }
    let mut text = seen(preview, style);
    for PreviewCountry { country: code, total, dropped, .. } in preview.by_country.iter().take(TOP)
    {
        let _ = writeln!(
            text,
            "  {:<28} {:>12} {:>12} dropped",
            country(*code),
            number(*total),
            number(*dropped)
        );
    }
    if preview.by_country.len() > TOP {
        let _ = writeln!(text, "  and {} more", preview.by_country.len() - TOP);
    }
    // A list of addresses is judged without a host.
    if preview.packets.is_some() {
        doubtful(&mut text, "Unknown", preview.unknown);
        doubtful(&mut text, "Disputed", preview.disputed);
        selection(&mut text, &preview.selection);
        parties(&mut text, preview, style);
    }
    warnings(&mut text, &preview.warnings, style);
    text
}

fn seen(preview: &Preview, style: Style) -> String {
    let addresses = &preview.addresses;
    let part = share(addresses.dropped, addresses.total);
    let dropped = style.bold(&number(addresses.dropped));
    let mut text = match (&preview.packets, &preview.since) {
        (Some(packets), Some(since)) => format!(
            "{dropped} of {} sources seen since {since} would be dropped ({part}), with {} of their packets.\n",
            number(addresses.total),
            share(packets.dropped, packets.total)
        ),
        (Some(_), None) => String::new(),
        (None, _) => format!(
            "{dropped} of {} addresses would be dropped ({part}).\n",
            number(addresses.total)
        ),
    };
    if addresses.invalid > 0 {
        let invalid = number(addresses.invalid);
        let first =
            addresses.first_invalid.map(|line| format!("; the first is line {}", number(line)));
        let first = first.unwrap_or_default();
        let _ = writeln!(text, "{invalid} lines were no address and were skipped{first}.");
    }
    text
}

fn doubtful(text: &mut String, name: &str, sources: Share) {
    if sources.total > 0 {
        let Share { total, dropped } = sources;
        row(text, name, &format!("{} sources, {} dropped", number(total), number(dropped)));
    }
}

fn selection(text: &mut String, selection: &Selection) {
    let Selection { addresses, disputed, hosting } = *selection;
    if addresses > 0 {
        row(
            text,
            "Selected",
            &format!(
                "{} IPv4 addresses; of {} another source says another country, {} are in hosting networks",
                number(addresses),
                share(disputed, addresses),
                share(hosting, addresses)
            ),
        );
    }
}

fn parties(text: &mut String, preview: &Preview, style: Style) {
    let (again, cut_now): (Vec<&Cut>, Vec<&Cut>) =
        preview.would_cut.iter().partition(|cut| cut.already);
    match cut_now.as_slice() {
        [] => row(text, "Would cut", &style.green("nobody who is known")),
        lost => row(text, "Would cut", &style.red(&cut(lost))),
    }
    if !again.is_empty() {
        row(text, "Cut already", &cut(&again));
    }
    let Kept { trunks, phones, peers, exempted } = preview.kept;
    let kept = [(trunks, "trunk"), (phones, "phone"), (peers, "peer")];
    row(text, "Kept", &kept.map(|(many, what)| count(many, what)).join(", "));
    if exempted > 0 {
        row(text, "Exempted", &format!("{}, for a while", count(exempted, "phone")));
    }
    if !preview.risks.is_empty() {
        let accept: Vec<String> =
            preview.risks.iter().map(|risk| format!("--accept-risk {risk}")).collect();
        let instead = match preview.risks.contains(&Risk::LosePhones) {
            true => ", or --keep-registered 7d",
            false => "",
        };
        row(text, "Needs", &format!("{}{instead}", accept.join(" ")));
    }
}

/// Some of those who would be cut, by what they are: `2 phones: 1001 from 198.51.100.7 (MA), ...`.
pub(crate) fn cut(lost: &[&Cut]) -> String {
    let mut groups: BTreeMap<Who, Vec<&Cut>> = BTreeMap::new();
    lost.iter().for_each(|cut| groups.entry(cut.who).or_default().push(cut));
    let groups: Vec<String> = groups.into_iter().map(|(who, cut)| group(who, &cut)).collect();
    groups.join("; ")
}

fn group(who: Who, cut: &[&Cut]) -> String {
    let (one, many) = match who {
        Who::Trunk => ("trunk", "trunks"),
        Who::Phone => ("phone", "phones"),
        Who::Ssh => ("ssh session", "ssh sessions"),
        Who::Portal => ("portal session", "portal sessions"),
        Who::Connection => ("connection", "connections"),
    };
    let named = cut.iter().take(NAMED).map(|cut| {
        let name = cut.what.strip_prefix(one).unwrap_or(&cut.what).trim_start();
        let banned = if cut.banned { ", banned" } else { "" };
        let from = format!("from {} ({}{banned})", cut.address, cut.country);
        if name.is_empty() { from } else { format!("{name} {from}") }
    });
    let named: Vec<String> = named.collect();
    let more = match cut.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = if cut.len() == 1 { one } else { many };
    format!("{} {what}: {}{more}", cut.len(), named.join(", "))
}

#[cfg(test)]
mod tests {
    use geofilter_core::country::CountryCode;

    use super::*;

    fn phone(name: &str, last: u8) -> Cut {
        Cut {
            address: [198, 51, 100, last].into(),
            country: CountryCode::parse("MA").unwrap(),
            what: format!("phone {name}"),
            who: Who::Phone,
            risk: Some(Risk::LosePhones),
            already: false,
            banned: false,
            logins: None,
        }
    }

    #[test]
    fn those_who_would_be_cut_are_named_by_kind() {
        let session = Cut { what: "ssh session".to_owned(), who: Who::Ssh, ..phone("", 9) };
        let (one, other) = (phone("1001", 7), phone("1002", 8));
        assert_eq!(
            cut(&[&one, &other, &session]),
            "2 phones: 1001 from 198.51.100.7 (MA), 1002 from 198.51.100.8 (MA); 1 ssh session: from 198.51.100.9 (MA)"
        );
        let many: Vec<Cut> = (0..12).map(|last| phone("1001", last)).collect();
        assert!(cut(&many.iter().collect::<Vec<_>>()).ends_with(" and 2 more"));
    }
}
