//! [`Follower`]: asks DNS for the names that are exempt, each again when its answer has aged. It runs beside
//! the engine, which tells it by an [`Asker`] what to ask for, and hears of the answers there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use geofilter_core::book::{Answer, HostName};
use tokio::sync::mpsc as channel;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::resolver;

/// How many names are asked for at the same time.
const AT_ONCE: usize = 16;

/// What the engine says.
#[derive(Debug)]
enum Word {
    /// These names from now on, and no others.
    Follow(BTreeSet<HostName>),
    /// This one at once.
    Ask(HostName),
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Asker {
    words: channel::UnboundedSender<Word>,
    wanted: BTreeSet<HostName>,
    answers: mpsc::Receiver<(HostName, Answer)>,
}

/// The end that asks.
#[derive(Debug)]
pub(crate) struct Follower {
    words: channel::UnboundedReceiver<Word>,
    answers: mpsc::Sender<(HostName, Answer)>,
    turns: BTreeMap<HostName, Turn>,
}

/// Both ends.
pub(crate) fn link() -> (Asker, Follower) {
    let (to_follower, words) = channel::unbounded_channel();
    let (sender, answers) = mpsc::channel();
    let asker = Asker { words: to_follower, wanted: BTreeSet::new(), answers };
    (asker, Follower { words, answers: sender, turns: BTreeMap::new() })
}

impl Asker {
    /// Says which names to follow from now on.
    pub(super) fn follow(&mut self, names: BTreeSet<HostName>) {
        if names != self.wanted {
            self.wanted.clone_from(&names);
            self.say(Word::Follow(names));
        }
    }

    /// Says to ask for a name that is followed without waiting for its turn.
    pub(super) fn ask(&self, name: HostName) {
        self.say(Word::Ask(name));
    }

    /// Whether any name is followed.
    pub(super) fn follows_any(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The answers that have come since the last time.
    pub(super) fn answers(&self) -> Vec<(HostName, Answer)> {
        self.answers.try_iter().collect()
    }

    /// Nobody hears it when the agent is ending.
    fn say(&self, word: Word) {
        let _ = self.words.send(word);
    }
}

/// When a name is asked for.
#[derive(Debug, Clone, Copy)]
struct Turn {
    at: Instant,
    failures: u32,
    /// The answer has not come yet.
    asked: bool,
}

impl Turn {
    fn now() -> Self {
        Self { at: Instant::now(), failures: 0, asked: false }
    }

    /// The turn after an answer.
    fn after(self, answer: &Answer) -> Self {
        let failures = match answer {
            Answer::Addresses { incomplete: None, .. } => 0,
            Answer::Addresses { .. } | Answer::Failed(_) => self.failures.saturating_add(1),
        };
        let at = Instant::now() + Duration::from_secs(answer.again(failures));
        Self { at, failures, asked: false }
    }
}

impl Follower {
    /// Asks these servers, or those of the host, for as long as it is polled and the engine lives.
    pub(crate) async fn run(mut self, nameservers: Vec<SocketAddr>) {
        let mut asked: JoinSet<(HostName, Answer)> = JoinSet::new();
        loop {
            let next = self.begin(&mut asked, &nameservers);
            let turn = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                word = self.words.recv() => match word {
                    Some(word) => self.hear(word),
                    None => return,
                },
                Some(answered) = asked.join_next() => if let Ok((name, answer)) = answered {
                    self.pass_on(name, answer);
                },
                () = turn => {}
            }
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Follow(names) => {
                self.turns.retain(|name, _| names.contains(name));
                for name in names {
                    self.turns.entry(name).or_insert_with(Turn::now);
                }
            }
            Word::Ask(name) => {
                if let Some(turn) = self.turns.get_mut(&name).filter(|turn| !turn.asked) {
                    turn.at = Instant::now();
                }
            }
        }
    }

    /// Asks for the names whose turn it is, and says when the next one's is.
    fn begin(
        &mut self,
        asked: &mut JoinSet<(HostName, Answer)>,
        nameservers: &[SocketAddr],
    ) -> Option<Instant> {
        let now = Instant::now();
        let due = self.turns.iter_mut().filter(|(_, turn)| !turn.asked && turn.at <= now);
        for (name, turn) in due.take(AT_ONCE.saturating_sub(asked.len())) {
            turn.asked = true;
            let (name, nameservers) = (name.clone(), nameservers.to_vec());
            asked.spawn(async move {
                let answer = resolver::ask(&name, &nameservers).await;
                (name, answer)
            });
        }
        // While as many as may be are asked, the next answer is what is waited for.
        let waiting = self.turns.values().filter(|turn| !turn.asked).map(|turn| turn.at).min();
        waiting.filter(|_| asked.len() < AT_ONCE)
    }

    fn pass_on(&mut self, name: HostName, answer: Answer) {
        if let Some(turn) = self.turns.get_mut(&name) {
            *turn = turn.after(&answer);
            // The engine may be ending.
            let _ = self.answers.send((name, answer));
        }
    }
}
