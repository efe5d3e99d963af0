//! Builds the embedded images from `data/sources`. `docs/geo-data.md` says what goes into them.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use geofilter_core::geodata::hosting::HostingList;
use geofilter_core::geodata::{
    AsNumber, AsTable, Edition, Layer, Listing, Packing, Says, SourceInfo, WorldImage, merge, mmdb,
    range_csv,
};

/// The sources, parsed.
pub struct Sources {
    /// DB-IP Country Lite.
    pub primary: Listing,
    /// Delegated statistics of the registries.
    pub registry: Listing,
    /// Who announces what.
    pub asns: AsTable,
    /// Hosting companies.
    pub hosting: HostingList,
}

/// The folder `data` of this repository.
pub fn data_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data")
}

impl Sources {
    /// Reads all sources from the folder `data`.
    pub fn read(data: &Path) -> Result<Self> {
        Ok(Self {
            primary: both_families(data, "dbip-country-lite-2026-10")?,
            registry: both_families(data, "rir-delegated-iptocc-1.4.175")?,
            asns: mmdb::parse_asns(&read(data, "iptoasn-asn-2026-09.mmdb.xz")?)?,
            hosting: HostingList::parse(&read(data, "bad-asn-list-2026-03.csv")?)?,
        })
    }

    /// Whether the autonomous system is a hosting company.
    pub fn is_hosting(&self, number: AsNumber) -> bool {
        self.hosting.is_hosting(number, self.asns.name(number))
    }

    /// What the sources say.
    fn says(&self) -> Layer<Says> {
        let networks = merge::networks(&self.asns, &self.hosting);
        merge::merge(&self.primary, &self.registry, &networks)
    }

    /// The image of the world that is embedded.
    pub fn world_image(&self) -> Result<Vec<u8>> {
        Ok(WorldImage::encode(&edition(), &self.says(), Packing::Smallest)?)
    }
}

/// The content of one source, decompressed by the ending of its name.
pub fn read(data: &Path, name: &str) -> Result<Vec<u8>> {
    let path = data.join("sources").join(name);
    let file = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let decompress = || format!("decompress {}", path.display());
    if name.ends_with(".zst") {
        zstd::decode_all(Cursor::new(file)).with_context(decompress)
    } else if name.ends_with(".xz") {
        let mut content = Vec::new();
        lzma_rs::xz_decompress(&mut Cursor::new(file), &mut content).with_context(decompress)?;
        Ok(content)
    } else {
        Ok(file)
    }
}

/// The file of the source that the embedded world was made of, as it is published: both families in one.
pub fn dbip() -> Result<Vec<u8>> {
    let family =
        |family| read(&data_folder(), &format!("dbip-country-lite-2026-10-{family}.csv.zst"));
    Ok([family("v4")?, family("v6")?].concat())
}

/// Something compressed by gzip.
pub fn packed(content: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), level);
    packer.write_all(content)?;
    Ok(packer.finish()?)
}

fn both_families(data: &Path, name: &str) -> Result<Listing> {
    let parse = |family: &str| -> Result<Listing> {
        let name = format!("{name}-{family}.csv.zst");
        range_csv::parse(&read(data, &name)?[..]).with_context(|| format!("parse {name}"))
    };
    Ok(Layer { v4: parse("v4")?.v4, v6: parse("v6")?.v6 })
}

fn edition() -> Edition {
    let source = |name: &str, date: &str, licence: &str, credit: &str, link: &str| SourceInfo {
        name: name.to_owned(),
        date: date.to_owned(),
        licence: licence.to_owned(),
        credit: credit.to_owned(),
        link: link.to_owned(),
    };
    Edition {
        primary: source(
            "DB-IP Country Lite",
            "2026-10",
            "CC BY 4.0",
            "IP Geolocation by DB-IP",
            "https://db-ip.com",
        ),
        registry: source(
            "RIR delegated statistics",
            "iptocc 1.4.175",
            "CC BY 4.0",
            "Delegated statistics by the NRO and the registries",
            "https://www.nro.net",
        ),
        hosting: vec![
            source("iptoasn", "2026-09", "PDDL", "AS data by iptoasn.com", "https://iptoasn.com"),
            source(
                "bad-asn-list",
                "2026-03",
                "MIT",
                "Hosting networks by Brian Hamachek",
                "https://github.com/brianhama/bad-asn-list",
            ),
        ],
    }
}
