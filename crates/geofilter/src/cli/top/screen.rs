//! [`Screen`]: draws what is known.

use geofilter_core::wire::{LogEntry, SourceReport, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

use super::Known;
use super::rates::{Country, Rates};
use crate::cli::render::{self, Style, country, number};

/// Lines of the tables, with their borders and headings; the log has what is left.
const TABLES: u16 = 14;
const HEAD: u16 = 4;
const BAR: u16 = 8;
/// From this width on a table shows all of its columns.
const WIDE: u16 = 46;

/// See the module.
pub(super) struct Screen<'a> {
    pub(super) known: &'a Known,
    pub(super) style: Style,
}

impl Screen<'_> {
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let Known { before, now, .. } = self.known;
        let rates = Rates::between(before, now);
        let tables = TABLES.min(frame.area().height / 2);
        let [head, middle, log] = Layout::vertical([
            Constraint::Length(HEAD),
            Constraint::Length(tables),
            Constraint::Min(3),
        ])
        .areas(frame.area());
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(40), Constraint::Percentage(60)])
                .spacing(1)
                .areas(middle);
        self.head(frame, head, &now.status, &rates);
        let how = if now.status.sampled { ", from samples" } else { "" };
        self.countries(frame, left, &rates.countries, how);
        self.sources(frame, right, &rates.sources, how);
        self.log(frame, log);
    }

    fn look(&self, colour: Color) -> Look {
        match self.style.colour {
            true => Look::new().fg(colour),
            false => Look::new(),
        }
    }

    fn head(&self, frame: &mut Frame<'_>, area: Rect, status: &Status, rates: &Rates) {
        let state =
            render::in_force(status.state, status.mode, status.countries, status.generation);
        let left = status.remaining.map(|left| format!(", {left} s left")).unwrap_or_default();
        let Rates { passed_per_second, dropped_per_second, would_drop_per_second, .. } = *rates;
        let warning = match (&self.known.trouble, status.warnings.first()) {
            (Some(trouble), _) => trouble.message.clone(),
            (None, Some(warning)) => warning.clone(),
            (None, None) => String::new(),
        };
        let lines = vec![
            Line::from(vec![
                Span::styled("GeoFilter  ", Look::new().add_modifier(Modifier::BOLD)),
                Span::raw(format!("{state}{left}")),
            ]),
            Line::from(format!(
                "passed {}/s   dropped {}/s   would drop {}/s   dropped in all {}   not shown in the log {}",
                whole(passed_per_second),
                whole(dropped_per_second),
                whole(would_drop_per_second),
                number(status.dropped.packets),
                number(status.skipped_events)
            )),
            Line::styled(warning, self.look(Color::Yellow)),
            Line::styled("q ends this; the filter stays as it is", self.look(Color::DarkGray)),
        ];
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn countries(&self, frame: &mut Frame<'_>, area: Rect, countries: &[Country], how: &str) {
        let most = countries.iter().map(|it| it.per_second).fold(1.0, f64::max);
        let rows = countries.iter().map(|it| {
            let filled = (it.per_second / most * f64::from(BAR)).round() as usize;
            vec![
                Cell::from(country(it.country)),
                right(whole(it.per_second)),
                right(number(it.packets)),
                Cell::from("\u{2588}".repeat(filled)).style(self.look(Color::Red)),
            ]
        });
        let columns = [
            ("", Constraint::Fill(1)),
            ("a second", Constraint::Length(9)),
            ("in all", Constraint::Length(12)),
            ("", Constraint::Length(BAR)),
        ];
        let shown = if area.width < WIDE { 3 } else { 4 };
        let title = format!("Dropped, by country{how}");
        self.table(frame, area, &title, &columns[..shown], rows);
    }

    fn sources(&self, frame: &mut Frame<'_>, area: Rect, sources: &[SourceReport], how: &str) {
        let rows = sources.iter().map(|it| {
            vec![
                Cell::from(it.source.clone()),
                Cell::from(it.country.to_string()),
                right(number(it.lately)),
                right(number(it.dropped)),
                right(number(it.passed)),
                Cell::from(it.as_name.clone().unwrap_or_default()),
            ]
        });
        let columns = [
            ("", Constraint::Fill(2)),
            ("", Constraint::Length(2)),
            ("in 10 s", Constraint::Length(8)),
            ("dropped", Constraint::Length(10)),
            ("passed", Constraint::Length(10)),
            ("network", Constraint::Fill(1)),
        ];
        let shown = if area.width < WIDE { 4 } else { 6 };
        let title = format!("Sources, the busiest first{how}");
        self.table(frame, area, &title, &columns[..shown], rows);
    }

    /// As many columns as are named: of what has no room the rest is left out.
    fn table<'a>(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        title: &'a str,
        columns: &[(&'a str, Constraint)],
        rows: impl Iterator<Item = Vec<Cell<'a>>>,
    ) {
        let heads = columns.iter().map(|(head, constraint)| match constraint {
            Constraint::Length(_) => right((*head).to_owned()),
            _ => Cell::from(*head),
        });
        let heads = Row::new(heads).style(self.look(Color::DarkGray));
        let rows = rows.map(|cells| Row::new(cells.into_iter().take(columns.len())));
        let widths = columns.iter().map(|(_, constraint)| *constraint);
        let block = Block::new().borders(Borders::TOP).title(title);
        frame.render_widget(Table::new(rows, widths).header(heads).block(block), area);
    }

    fn log(&self, frame: &mut Frame<'_>, area: Rect) {
        let lines: Vec<Line<'_>> = self.known.log.iter().map(|entry| self.line(entry)).collect();
        let block = Block::new().borders(Borders::TOP).title("Drops, the latest first");
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    fn line(&self, entry: &LogEntry) -> Line<'static> {
        let time = entry.time.parse::<jiff::Timestamp>().map_or_else(
            |_| entry.time.clone(),
            |time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%T").to_string(),
        );
        let what = entry.method.as_deref().or(entry.first_line.as_deref()).unwrap_or("-");
        let text = format!(
            "{time} {} {:<8} {}/{:<5} {:<22} {what} {} {}{}",
            entry.country,
            render::words(&entry.reason),
            entry.protocol,
            entry.port,
            entry.source.to_string(),
            entry.user_agent.as_deref().unwrap_or_default(),
            entry.as_name.as_deref().unwrap_or_default(),
            render::stands_for(entry.packets),
        );
        let colour = if entry.enforced { Color::Reset } else { Color::Yellow };
        Line::styled(text, self.look(colour))
    }
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

/// A rate; small ones have a digit more.
fn whole(rate: f64) -> String {
    match rate {
        rate if rate > 0.0 && rate < 10.0 => format!("{rate:.1}"),
        rate => number(rate.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::rates::tests::reading;
    use super::*;

    fn drawn(columns: u16, lines: u16) -> String {
        let first = Instant::now();
        let before = reading(first, 0, &[("CN", 10)]);
        let now = reading(first, 1_000, &[("CN", 1_250)]);
        let known = Known { before, now, log: VecDeque::new(), trouble: None };
        let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
        let screen = Screen { known: &known, style: Style { colour: true } };
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_says_what_is_dropped() {
        let screen = drawn(110, 30);
        for text in ["dropped 1,240/s", "CN China", "1,250", "Sources", "Drops, the latest first"] {
            assert!(screen.contains(text), "{text}:\n{screen}");
        }
    }

    #[test]
    fn a_small_terminal_is_no_trouble() {
        for (columns, lines) in [(80, 24), (40, 10), (10, 3), (1, 1)] {
            drawn(columns, lines);
        }
    }
}
