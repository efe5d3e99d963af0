//! Rebuilds `data/world.img` and `data/as.img` from `data/sources`.

use anyhow::{Context, Result};
use geofilter_core::geodata::Packing;
use geofilter_lab::images::{Sources, data_folder};

fn main() -> Result<()> {
    let data = data_folder();
    let sources = Sources::read(&data)?;
    let images = [
        ("world.img", sources.world_image()?),
        ("as.img", sources.asns.encode(Packing::Smallest)?),
    ];
    for (name, image) in images {
        let path = data.join(name);
        std::fs::write(&path, &image).with_context(|| format!("write {}", path.display()))?;
        println!("{name}: {} bytes", image.len());
    }
    Ok(())
}
