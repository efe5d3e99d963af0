//! [`run`]: the process that speaks to the portal, without privileges. It hears its [`Job`] and what to [`Tell`] the portal from whoever
//! started it, a line each, and says what it [`Heard`].

use std::io::{self, BufRead};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use geofilter_core::wire::{Failure, Membership};
use geofilter_fleet::bans::SharedBans;
use geofilter_fleet::world::Served;
use geofilter_fleet::{
    self as fleet, Client, Enrol, Error, LATEST, LIFETIME, Question, Renew, Said, Snapshot, Ticket,
    pause,
};
use geofilter_portal::sandbox;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::agent::child;
use crate::cli::failed;

/// A certificate is renewed when a third of its time is left, and asked for no more often than this.
const RENEWAL: Duration = Duration::from_secs(3600);

/// What the process is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "kebab-case")]
pub(crate) enum Job {
    /// To become a host of a portal.
    Enrol { portal: String, token: String, name: String },
    /// To be one.
    Link { membership: Membership },
}

/// What it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "kebab-case")]
pub(crate) enum Tell {
    /// How the host stands, and what was counted.
    Report { said: Box<Said> },
    /// That this host is its own no more; the process ends with it.
    Leave,
}

/// What it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "heard", rename_all = "kebab-case")]
pub(crate) enum Heard {
    /// This host is one of a portal.
    Enrolled { membership: Membership },
    /// The portal listens.
    Connected,
    /// What the host is to do.
    Snapshot { snapshot: Box<Snapshot> },
    /// What the host is asked.
    Preview { question: Box<Question> },
    /// Bans that hosts of the fleet share.
    Bans { bans: SharedBans },
    /// The certificate is another one.
    Renewed { membership: Membership },
    /// World data that its portal serves, or that it serves none.
    World { served: Option<Served> },
    /// What it was told is on its way.
    Sent,
    /// The portal has written down what was said by this number.
    Noted { number: u64 },
    /// The portal does not listen.
    Lost { why: String },
}

/// Runs until whoever started it ends it.
///
/// # Errors
/// If it can't be confined, or is not told what to do.
pub(crate) fn run() -> Result<(), Failure> {
    let job: Job = child::begin()?;
    sandbox::enter_link().map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        match job {
            Job::Enrol { portal, token, name } => {
                child::tell(&match enrol(&portal, &token, name).await {
                    Ok(membership) => Heard::Enrolled { membership },
                    Err(why) => Heard::Lost { why },
                })
            }
            Job::Link { membership } => Link { membership, asked: None }.keep(listen()).await,
        }
    });
    Ok(())
}

async fn enrol(portal: &str, token: &str, name: String) -> Result<Membership, String> {
    let ticket: Ticket =
        token.parse().map_err(|error: geofilter_fleet::NoTicket| error.to_string())?;
    let request =
        geofilter_fleet::Request::new().map_err(|error| format!("cannot make a key: {error}"))?;
    let client = Client::stranger(portal, ticket.pin).map_err(|error| error.to_string())?;
    let asked = Enrol { secret: ticket.secret(), name, request: request.pem().to_owned() };
    let enrolled = client.enrol(&asked).await.map_err(|error| error.to_string())?;
    Ok(request.enrolled(portal, enrolled))
}

/// What is told, until nobody tells any more.
fn listen() -> Receiver<Tell> {
    let (tell, told) = mpsc::channel(4);
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            // What makes no sense is of another version.
            let Ok(heard) = serde_json::from_str(&line) else { continue };
            if tell.blocking_send(heard).is_err() {
                return;
            }
        }
    });
    told
}

struct Link {
    membership: Membership,
    /// When another certificate was asked for.
    asked: Option<Instant>,
}

impl Link {
    /// Connects again and again, until nobody tells it anything any more.
    async fn keep(mut self, mut told: Receiver<Tell>) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let Some(error) = self.connect(&mut told).await else { return };
            child::tell(&Heard::Lost { why: self.why(&error) });
            // What held for a while begins anew.
            failures = if began.elapsed() > LATEST { 0 } else { failures + 1 };
            let again = Instant::now() + pause(failures);
            // What is told meanwhile is told again.
            while let Ok(heard) = timeout_at(again, told.recv()).await {
                match heard {
                    Some(Tell::Report { .. }) => {}
                    Some(Tell::Leave) => return self.leave().await,
                    None => return,
                }
            }
        }
    }

    /// Why the connection ended; nothing if nobody tells it anything any more.
    async fn connect(&mut self, told: &mut Receiver<Tell>) -> Option<Error> {
        let attempt = async {
            let client = Client::member(&self.membership)?;
            let stream = client.stream().await?;
            Ok((client, stream))
        };
        let (mut client, mut stream) = match attempt.await {
            Ok(connected) => connected,
            Err(error) => return Some(error),
        };
        child::tell(&Heard::Connected);
        loop {
            let renewal = self.renewal();
            tokio::select! {
                next = stream.next() => child::tell(&match next {
                    Ok(fleet::Heard::Snapshot(snapshot)) => Heard::Snapshot { snapshot },
                    Ok(fleet::Heard::Bans(bans)) => Heard::Bans { bans },
                    Ok(fleet::Heard::Noted(number)) => Heard::Noted { number },
                    Ok(fleet::Heard::Preview(question)) => Heard::Preview { question },
                    Ok(fleet::Heard::World(served)) => Heard::World { served },
                    Err(error) => return Some(error),
                }),
                heard = told.recv() => match heard? {
                    Tell::Report { said } => match stream.say(&said).await {
                        Ok(()) => child::tell(&Heard::Sent),
                        Err(error) => return Some(error),
                    },
                    Tell::Leave => {
                        self.leave().await;
                        return None;
                    }
                },
                () = sleep_until(renewal) => {
                    self.asked = Some(Instant::now());
                    match self.renew(&client).await {
                        Ok(renewed) => client = renewed,
                        Err(error) => tracing::warn!(%error, "the host's certificate was not renewed; it is tried again within the hour"),
                    }
                },
            }
        }
    }

    /// What is said of it. Who is not let in for his certificate sees a connection that ends.
    fn why(&self, error: &Error) -> String {
        match self.left().is_zero() {
            true => format!(
                "this host's certificate has ended, by its clock: get a token of the portal, and enrol it again with `geofilter enrol` ({error})"
            ),
            false => error.to_string(),
        }
    }

    /// A portal that does not hear it lists this host until somebody revokes it.
    async fn leave(&self) {
        let left = match Client::member(&self.membership) {
            Ok(client) => client.leave().await,
            Err(error) => Err(error),
        };
        if let Err(error) = left {
            tracing::warn!(%error, "the portal was not told that this host left it: revoke it there");
        }
    }

    /// For how long its certificate is good.
    fn left(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = Duration::from_secs(self.membership.until.try_into().unwrap_or(0));
        until.saturating_sub(now)
    }

    /// When another certificate is to be asked for.
    fn renewal(&self) -> Instant {
        let due = Instant::now() + self.left().saturating_sub(LIFETIME / 3);
        self.asked.map_or(due, |asked| due.max(asked + RENEWAL))
    }

    async fn renew(&mut self, client: &Client) -> Result<Client, Error> {
        let request = geofilter_fleet::Request::new();
        let request = request.map_err(|error| Error::Certificate(error.to_string()))?;
        let renewed = client.renew(&Renew { request: request.pem().to_owned() }).await?;
        let membership = request.renewed(&self.membership, renewed);
        let client = Client::member(&membership)?;
        child::tell(&Heard::Renewed { membership: membership.clone() });
        self.membership = membership;
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use geofilter_core::counters::Reason;
    use geofilter_core::country::CountryCode;
    use geofilter_core::series::{Counts, Packets, Slot};

    use super::*;

    #[test]
    fn what_was_counted_comes_through_to_who_says_it() {
        let packets = Packets { dropped: u64::MAX, would_drop: 1, passed: 2 };
        let counts = Counts {
            reasons: [(Reason::Country, packets)].into(),
            countries: [(CountryCode::parse("CN").unwrap(), packets)].into(),
        };
        let counted = vec![Slot { time: 1_795_400_000_000, watched: 10_000, counts }];
        let said = Said { number: 7, counted, ..Said::default() };
        let line = serde_json::to_string(&Tell::Report { said: Box::new(said.clone()) }).unwrap();
        let Tell::Report { said: heard } = serde_json::from_str(&line).unwrap() else { panic!() };
        assert_eq!(*heard, said);
    }
}
