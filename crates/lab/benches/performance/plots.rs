//! The two plots of `docs/performance.md`.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::compare::Costs;

const SIZE: (u32, u32) = (900, 480);
const INK: RGBColor = RGBColor(60, 60, 60);
const OURS: RGBColor = RGBColor(20, 110, 180);
const COLOURS: [RGBColor; 3] = [OURS, RGBColor(200, 90, 20), RGBColor(110, 110, 110)];
/// Its size comes out a fifth smaller.
const FONT: (&str, i32) = ("sans-serif", 19);

/// A line of the first plot: its name, and nanoseconds a packet at each size.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) costs: Vec<f64>,
}

/// Cost against the size of the table.
pub(crate) fn by_size(file: &Path, sizes: &[String], lines: &[Line]) -> Result<()> {
    let highest = lines.iter().flat_map(|line| &line.costs).fold(0.0, |a: f64, b| a.max(*b));
    let root = canvas(file)?;
    let last = sizes.len() as f64 - 1.0;
    let mut chart = ChartBuilder::on(&root)
        .caption("Processor time a packet, by blocked ranges", FONT)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(-0.2..last + 0.2, 0.0..highest * 1.2)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(1)
        .x_labels(sizes.len())
        .x_label_formatter(&|at| name_of(sizes, *at))
        .y_label_formatter(&|ns| format!("{ns:.0}"))
        .y_desc("ns a packet")
        .label_style((FONT.0, 16, &INK))
        .draw()
        .map_err(drawing)?;
    for (line, colour) in lines.iter().zip(COLOURS) {
        let points: Vec<(f64, f64)> =
            line.costs.iter().enumerate().map(|(at, cost)| (at as f64, *cost)).collect();
        let dots = points.iter().map(|point| Circle::new(*point, 4, colour.filled()));
        chart.draw_series(dots).map_err(drawing)?;
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(drawing)?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .label_font((FONT.0, 16, &INK))
        .draw()
        .map_err(drawing)?;
    root.present().map_err(drawing)
}

/// Cost beside others, on a logarithmic scale.
pub(crate) fn by_rival(file: &Path, costs: &[Costs]) -> Result<()> {
    let mut bars: Vec<(&str, f64)> =
        costs.iter().map(|costs| (costs.name.as_str(), costs.spread().median * 1e9)).collect();
    bars.sort_by(|one, other| other.1.total_cmp(&one.1));
    let scale: Range<f64> = 20.0..300_000.0;
    let root = canvas(file)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Processor time a packet of a blocked source, ns, logarithmic", FONT)
        .margin(16)
        .x_label_area_size(30)
        .y_label_area_size(260)
        .build_cartesian_2d(scale.clone().log_scale(), 0.0..bars.len() as f64)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .disable_y_axis()
        .x_label_formatter(&|ns| format!("{ns:.0}"))
        .label_style((FONT.0, 16, &INK))
        .draw()
        .map_err(drawing)?;
    for (at, (name, cost)) in bars.into_iter().enumerate() {
        let at = at as f64;
        let colour = if name.starts_with("GeoFilter") { OURS } else { COLOURS[2] };
        let corners = [(scale.start, at + 0.2), (cost, at + 0.8)];
        chart.draw_series([Rectangle::new(corners, colour.filled())]).map_err(drawing)?;
        let text = format!(" {cost:.0}");
        chart
            .draw_series([Text::new(text, (cost, at + 0.68), (FONT.0, 16).into_font().color(&INK))])
            .map_err(drawing)?;
        let place = chart.backend_coord(&(scale.start, at + 0.68));
        root.draw(&Text::new(name.to_owned(), (24, place.1), (FONT.0, 16).into_font().color(&INK)))
            .map_err(drawing)?;
    }
    root.present().map_err(drawing)
}

fn canvas(file: &Path) -> Result<DrawingArea<SVGBackend<'_>, Shift>> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    Ok(root)
}

fn name_of(sizes: &[String], at: f64) -> String {
    let number = at.round();
    let near = (at - number).abs() < 0.01;
    sizes.get(number as usize).filter(|_| near).cloned().unwrap_or_default()
}

fn drawing<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("draw a plot: {error}")
}
