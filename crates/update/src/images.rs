//! [`make`]: images of the world and of the autonomous systems, from what was fetched and from the images that are in use.

use std::fs;
use std::io::{BufRead, Read};
use std::path::Path;

use geofilter_core::country::CountryId;
use geofilter_core::geodata::as_classes::AsClasses;
use geofilter_core::geodata::hosting::HostingList;
use geofilter_core::geodata::ipfire::{Database, IPFIRE_KEY, PublicKey, Trust, text};
use geofilter_core::geodata::maxmind_csv::Locations;
use geofilter_core::geodata::{
    AsTable, Edition, Listing, Packing, Says, SourceInfo, WorldImage, as_csv, delegated, merge,
    mmdb, range_csv,
};

use crate::fetch;
use crate::job::{BASE, Job, MADE};
use crate::sources::{Format, Part, Source};
use crate::{Error, file_name, unpack};

/// What is in a file.
type Content = Box<dyn BufRead>;

/// Bytes of a database that is read as a whole.
const MOST: u64 = 128 * 1024 * 1024;

/// Makes the images. Those that are there are replaced by whole ones.
pub(crate) fn make(job: &Job) -> Result<(), Error> {
    let base = fs::read(job.folder.join(BASE.world))?;
    let base = WorldImage::open(&base)?;
    let mut edition = base.edition().clone();
    let source = |wanted| job.sources.iter().find(|(part, _)| *part == wanted).map(|(_, it)| it);
    let classes = source(Part::Classes);
    let classes = classes.map(|source| read(&job.folder, Part::Classes, source, read_classes));
    let hosting = HostingList::embedded().with_classes(classes.transpose()?.unwrap_or_default());
    let systems = systems(&job.folder, source(Part::Systems), &mut edition)?;
    let networks = merge::networks(&systems, &hosting);
    drop((systems, hosting));
    // What is in use of a source that is not asked, before any file takes its room.
    let says = base.sources()?;
    let kept = |part, of: fn(Says) -> Option<CountryId>| match source(part) {
        None => Ok(says.map(of)),
        Some(source) => Err(source),
    };
    let primary = kept(Part::Primary, |says| known(says.primary));
    let second = kept(Part::Second, |says| (!says.masked).then_some(says.registry));
    drop(says);
    let listing = |part, source, edition: &mut SourceInfo| {
        *edition = info(&job.folder, part, source);
        read(&job.folder, part, source, read_countries)
    };
    let second = second.or_else(|source| listing(Part::Second, source, &mut edition.registry))?;
    let primary = primary.or_else(|source| listing(Part::Primary, source, &mut edition.primary))?;
    let says = merge::merge(&primary, &second, &networks);
    drop((primary, second, networks));
    keep(&job.folder, MADE.world, &WorldImage::encode(&edition, &says, Packing::Quick)?)
}

/// Who announces what, and its image: from its source, or what is in use.
fn systems(
    folder: &Path,
    source: Option<&Source>,
    edition: &mut Edition,
) -> Result<AsTable, Error> {
    let Some(source) = source else {
        let base = fs::read(folder.join(BASE.systems))?;
        keep(folder, MADE.systems, &base)?;
        return Ok(AsTable::decode(&base)?);
    };
    let table = read(folder, Part::Systems, source, read_systems)?;
    keep(folder, MADE.systems, &table.encode(Packing::Quick)?)?;
    if let Some(first) = edition.hosting.first_mut() {
        *first = info(folder, Part::Systems, source);
    }
    Ok(table)
}

fn known(country: CountryId) -> Option<CountryId> {
    (country != CountryId::UNKNOWN).then_some(country)
}

/// Reads the files of a source, and what a reader makes of them.
fn read<T>(
    folder: &Path,
    part: Part,
    source: &Source,
    reader: fn(Format, Vec<Content>) -> Result<T, String>,
) -> Result<T, Error> {
    let names = || (0..source.places.len()).map(|number| file_name(part, number));
    let files: Result<_, Error> =
        names().map(|name| Ok(unpack::open(fetch::open(folder, &name)?)?)).collect();
    reader(source.format, files?).map_err(|why| {
        // Otherwise it would not be asked for again.
        names().for_each(|name| fetch::forget(folder, &name));
        Error::Unreadable { what: format!("what {} sent", source.name), why }
    })
}

/// Reads countries; where files speak of the same range, the last one counts.
fn read_countries(format: Format, files: Vec<Content>) -> Result<Listing, String> {
    let mut files = files.into_iter();
    let locations = match format {
        Format::MaxmindCsv => {
            let file = files.next().ok_or("the locations are missing")?;
            Some(Locations::parse(file).map_err(|error| error.to_string())?)
        }
        _ => None,
    };
    let listings = files.map(|file| match &locations {
        Some(locations) => locations.parse_networks(file).map_err(|error| error.to_string()),
        None => read_listing(format, file),
    });
    let joined =
        listings.reduce(|before, after| Ok(before?.zip(&after?, |before, after| after.or(before))));
    joined.unwrap_or_else(|| Err("there is no file".to_owned()))
}

pub(crate) fn read_listing(format: Format, mut file: Content) -> Result<Listing, String> {
    match format {
        Format::Csv => range_csv::parse(file).map_err(|error| error.to_string()),
        Format::Delegated => delegated::parse(file).map_err(|error| error.to_string()),
        Format::Mmdb => mmdb::parse_countries(&whole(file)?).map_err(|error| error.to_string()),
        Format::Ipfire => {
            let file = whole(file)?;
            ipfire(&file)?.countries().map_err(|error| error.to_string())
        }
        Format::IpfireText => text::parse_countries(file).map_err(|error| error.to_string()),
        Format::Guess => {
            let format = guess(file.fill_buf().map_err(|error| error.to_string())?);
            read_listing(format, file)
        }
        Format::MaxmindCsv | Format::AsCsv | Format::AsClasses => {
            Err("it has no ranges with their countries".to_owned())
        }
    }
}

/// What countries are written as in a file that begins so.
fn guess(begin: &[u8]) -> Format {
    let lines = begin.split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
    let mut data = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    match std::str::from_utf8(data.next().unwrap_or_default()) {
        Ok(line) if line.starts_with("LOCDBXX") => Format::Ipfire,
        Ok(line) if line.starts_with("net:") || line.starts_with("aut-num:") => Format::IpfireText,
        Ok(line) if line.contains('|') => Format::Delegated,
        Ok(line) if line.contains([',', ';', '\t']) => Format::Csv,
        Ok(_) => Format::Mmdb,
        Err(_) if begin.starts_with(b"LOCDBXX") => Format::Ipfire,
        Err(_) => Format::Mmdb,
    }
}

pub(crate) fn read_systems(format: Format, files: Vec<Content>) -> Result<AsTable, String> {
    let file = files.into_iter().next().ok_or("there is no file")?;
    match format {
        Format::AsCsv => as_csv::parse(file).map_err(|error| error.to_string()),
        Format::Mmdb => mmdb::parse_asns(&whole(file)?).map_err(|error| error.to_string()),
        Format::Ipfire => {
            let file = whole(file)?;
            ipfire(&file)?.asns().map_err(|error| error.to_string())
        }
        Format::Csv
        | Format::Delegated
        | Format::IpfireText
        | Format::MaxmindCsv
        | Format::Guess
        | Format::AsClasses => Err("it has no autonomous systems with their ranges".to_owned()),
    }
}

fn read_classes(format: Format, files: Vec<Content>) -> Result<AsClasses, String> {
    match format {
        Format::AsClasses => {
            let file = files.into_iter().next().ok_or("there is no file")?;
            AsClasses::parse(file).map_err(|error| error.to_string())
        }
        _ => Err("it has no kinds of autonomous systems".to_owned()),
    }
}

/// Believed only if the project signed it.
fn ipfire(file: &[u8]) -> Result<Database<'_>, String> {
    let key = PublicKey::new(&IPFIRE_KEY).map_err(|error| error.to_string())?;
    Database::open(file, &Trust::SignedBy(key)).map_err(|error| error.to_string())
}

/// A database is read from anywhere in it. MaxMind's lies in an archive.
fn whole(mut from: impl Read) -> Result<Vec<u8>, String> {
    let read = |from: &mut dyn Read| {
        let mut content = Vec::new();
        from.take(MOST).read_to_end(&mut content).map_err(|error| error.to_string())?;
        Ok(content)
    };
    let content: Vec<u8> = read(&mut from)?;
    if content.get(257..262) != Some(b"ustar") {
        return Ok(content);
    }
    let mut archive = tar::Archive::new(&content[..]);
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let path = entry.path().map_err(|error| error.to_string())?.into_owned();
        if path.extension().is_some_and(|ending| ending == "mmdb") {
            return read(&mut entry);
        }
    }
    Err("there is no .mmdb in the archive".to_owned())
}

fn info(folder: &Path, part: Part, source: &Source) -> SourceInfo {
    let Source { name, licence, credit, link, .. } = source.clone();
    SourceInfo { name, date: fetch::date(folder, &file_name(part, 0)), licence, credit, link }
}

/// Keeps an image, whole.
fn keep(folder: &Path, name: &str, image: &[u8]) -> Result<(), Error> {
    let new = folder.join(format!("{name}.new"));
    fs::write(&new, image)?;
    fs::File::open(&new)?.sync_all()?;
    Ok(fs::rename(&new, folder.join(name))?)
}
