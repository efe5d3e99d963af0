//! `top`: what the filter does now, second by second, until a key ends it. [`news`] asks the agent, [`rates`]
//! compares what it said, [`screen`] draws.

mod news;
mod rates;
mod screen;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Stdout};
use std::mem::ManuallyDrop;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use geofilter_core::wire::{Failure, LogEntry};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use self::news::{News, Reading};
use self::rates::Rates;
use self::screen::Screen;
use super::args::Global;
use super::render::Style;
use super::terminal::Raw;
use super::{Outcome, failed, invalid, show};

/// How often it is looked whether there is something new to draw.
const BLINK: Duration = Duration::from_millis(100);
/// Lines of the log that are kept for the screen.
const LINES: usize = 200;

/// `top`.
pub(super) fn run(global: &Global) -> Outcome {
    if global.json {
        let first = news::read(&global.socket)?;
        std::thread::sleep(news::INTERVAL);
        let second = news::read(&global.socket)?;
        return show(global, Rates::between(&first, &second), |_, _| String::new());
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(invalid(
            "top needs a terminal: use `geofilter top --json`, `status` or `log --follow`"
                .to_owned(),
        ));
    }
    // Whoever can't be asked at all is told so before the screen is taken.
    let first = news::read(&global.socket)?;
    let told = watch(first, global)
        .map_err(|error| failed(format!("cannot use the terminal: {error}")))?;
    told.map_or(Ok(()), Err)
}

/// The screen, which is as it was before once this is dropped. What it is drawn with would complain on
/// standard error when it is dropped, and panic where that was closed with the terminal.
struct Taken(ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>);

impl Taken {
    fn take() -> io::Result<Self> {
        execute!(io::stdout(), EnterAlternateScreen)?;
        Ok(Self(ManuallyDrop::new(Terminal::new(CrosstermBackend::new(io::stdout()))?)))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        let _ = execute!(io::stdout(), LeaveAlternateScreen);
    }
}

/// What is known, to be drawn.
struct Known {
    before: Reading,
    now: Reading,
    log: VecDeque<LogEntry>,
    /// Why the agent does not answer.
    trouble: Option<Failure>,
}

impl Known {
    fn new(first: Reading) -> Self {
        Self { before: first.clone(), now: first, log: VecDeque::new(), trouble: None }
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Reading(reading) => {
                self.before = std::mem::replace(&mut self.now, *reading);
                self.trouble = None;
            }
            News::Entry(entry) => {
                self.log.push_front(*entry);
                self.log.truncate(LINES);
            }
            News::Trouble(failure) => self.trouble = Some(failure),
        }
    }
}

/// Draws until a key ends it; with the last trouble if the agent was gone by then.
fn watch(first: Reading, global: &Global) -> io::Result<Option<Failure>> {
    let raw = Raw::enter()?;
    let mut taken = Taken::take()?;
    let style = Style::choose(global);
    let news = news::follow(global.socket.clone());
    let mut known = Known::new(first);
    let mut changed = true;
    loop {
        if changed {
            taken.0.draw(|frame| Screen { known: &known, style }.draw(frame))?;
        }
        let key = raw.key(BLINK)?;
        if raw.is_told_to_end() || key.is_some_and(ends) {
            return Ok(known.trouble);
        }
        // A terminal that changes its size tells nothing else.
        changed =
            catch_up(&news, &mut known) || taken.0.size()? != taken.0.get_frame().area().as_size();
    }
}

fn catch_up(news: &Receiver<News>, known: &mut Known) -> bool {
    let mut any = false;
    loop {
        match news.try_recv() {
            Ok(news) => known.learn(news),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return any,
        }
        any = true;
    }
}

fn ends(key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('c' | 'd') => key.modifiers.contains(KeyModifiers::CONTROL),
        KeyCode::Char('q') | KeyCode::Esc => true,
        _ => false,
    }
}
