//! Links for colleagues abroad: opening one exempts the address that opens it for the hours that were granted, and
//! nothing else. It may be opened again from another address in that time, which is exempt instead.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use geofilter_core::book::{Kind as Book, Origin};
use geofilter_core::wire::{RecordReport, Reply, Request};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::hosts::confused;
use super::{Body, Path};
use crate::clock;
use crate::host::Host;
use crate::passwords;
use crate::problem::{Kind, Problem};
use crate::secret::{Token, digest};
use crate::server::Shared;
use crate::session::{By, Changing, Source, network};
use crate::store::{Deed, Grant, Traveller};

const HOUR: i64 = 3_600;
/// Hours that may be granted: a fortnight.
const MOST: i64 = 24 * 14;
/// Milliseconds in which a link must be opened first.
const EXPIRES: i64 = 7 * 86_400_000;
/// Under what name wrong links count as wrong passwords do.
const THROTTLED: &str = "a traveller's link";

/// The links of a host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Travellers {
    /// They, the newest first.
    travellers: Vec<TravellerReport>,
}

/// A link.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TravellerReport {
    /// Its number.
    id: i64,
    /// Who it is for.
    name: String,
    /// Who made it.
    operator: String,
    /// For how many seconds it lets in.
    seconds: i64,
    /// When it was opened first, in RFC 3339.
    opened: Option<String>,
    /// Until when it lets in, or may be opened first, in RFC 3339.
    ends: String,
    /// What is exempt by it.
    target: Option<String>,
}

/// For whom.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTraveller {
    /// Who it is for.
    name: String,
    /// For how many hours it lets in, from when it is opened first: 1 to 336.
    hours: i64,
}

/// A link that was made; it is told once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeTraveller {
    /// Its number.
    id: i64,
    /// What follows the `#` of `/travel`.
    token: String,
}

/// What a traveller has.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opened {
    /// What follows the `#` of the link.
    token: String,
}

/// What a link did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LetIn {
    /// What is exempt now.
    target: String,
    /// Until when, in RFC 3339.
    until: String,
}

/// Links for colleagues abroad.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/travellers", tag = "travellers", params(Host),
    responses((status = 200, body = Travellers), Problem)
)]
pub(super) async fn travellers(
    State(shared): State<Arc<Shared>>,
    _by: By<Changing>,
    _host: Host,
) -> Result<Body<Travellers>, Problem> {
    let travellers =
        shared.store.travellers(&shared.here).await?.into_iter().map(TravellerReport::of);
    Ok(Body(Travellers { travellers: travellers.collect() }))
}

/// Make a link, which must be opened within seven days.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/travellers", tag = "travellers", params(Host),
    request_body = NewTraveller, responses((status = 201, body = MadeTraveller), Problem)
)]
pub(super) async fn add_traveller(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Body(NewTraveller { name, hours }): Body<NewTraveller>,
) -> Result<(StatusCode, Body<MadeTraveller>), Problem> {
    let name = passwords::check_name(&name)?;
    if !(1..=MOST).contains(&hours) {
        return Err(Problem::new(Kind::Invalid, format!("a link lets in for 1 to {MOST} hours")));
    }
    let token = Token::new().map_err(Problem::no_random)?;
    let (now, seconds) = (clock::now(), hours * HOUR);
    let operator = &by.name;
    let grant = Grant { name, host: &shared.here, operator, seconds, expires: now + EXPIRES };
    let after = Some(json!({ "name": name, "seconds": seconds }));
    let deed = Deed { host: Some(&shared.here), after, ..by.deed("make traveller's link") };
    shared.store.write_down(&deed, now).await?;
    let made = shared.store.add_traveller(&token.digest(), &grant, now).await?;
    let made = MadeTraveller { id: made.id, token: token.as_str().to_owned() };
    Ok((StatusCode::CREATED, Body(made)))
}

/// Void a link; whom it let in is let in no longer.
#[utoipa::path(
    delete, path = "/api/v1/hosts/{host}/travellers/{id}", tag = "travellers",
    params(("host" = String, Path, description = "The host.", example = "local"),
           ("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It is void."), Problem)
)]
pub(super) async fn remove_traveller(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Path((_, id)): Path<(String, i64)>,
) -> Result<StatusCode, Problem> {
    let missing = || Problem::new(Kind::Missing, "there is no such link: it was removed");
    let _turn = shared.travelling.lock().await;
    let traveller = shared.store.remove_traveller(&shared.here, id).await?.ok_or_else(missing)?;
    let before = Some(json!({ "name": traveller.name, "target": traveller.target }));
    let deed = Deed { host: Some(&shared.here), before, ..by.deed("void traveller's link") };
    shared.store.write_down(&deed, clock::now()).await?;
    shared.let_in_no_longer(&traveller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let in the address that asks, by a link.
#[utoipa::path(
    post, path = "/api/v1/travel", tag = "travellers", security(()),
    request_body = Opened, responses((status = 200, body = LetIn), Problem)
)]
pub(super) async fn travel(
    State(shared): State<Arc<Shared>>,
    Source(source): Source,
    Body(Opened { token }): Body<Opened>,
) -> Result<Body<LetIn>, Problem> {
    let now = clock::now();
    shared.try_once(THROTTLED, &source)?;
    let _turn = shared.travelling.lock().await;
    let Some(traveller) = shared.store.traveller(&shared.here, &digest(&token), now).await? else {
        let detail = "this link is over, or was never one: ask whoever sent it for another";
        return Err(Problem::new(Kind::Missing, detail));
    };
    shared.succeeded(THROTTLED, &source);
    let target = target(&source)?;
    shared.let_in(&traveller, &target, &source, now).await
}

impl Shared {
    async fn let_in(
        &self,
        traveller: &Traveller,
        target: &str,
        source: &str,
        now: i64,
    ) -> Result<Body<LetIn>, Problem> {
        let until = traveller.opened.map_or(now + traveller.seconds * 1000, |_| traveller.ends());
        let seconds = u64::try_from((until - now) / 1000).unwrap_or_default().max(1);
        if !self.is_exempt_for(target, seconds).await? {
            let request = Request::Add {
                kind: Book::Exemption,
                targets: vec![target.to_owned()],
                seconds: Some(seconds),
                note: note(traveller),
                origin: Origin::Operator,
            };
            let Reply::Noted(_) = self.ask(&request).await? else { return Err(confused()) };
        }
        if traveller.target.as_deref() != Some(target) {
            self.let_in_no_longer(traveller).await?;
        }
        self.store.let_in(traveller.id, target, now).await?;
        let answer = LetIn { target: target.to_owned(), until: clock::written(until) };
        // Whoever opens it again and again fills no disk.
        if traveller.target.as_deref() == Some(target) {
            return Ok(Body(answer));
        }
        let after = Some(json!({ "name": traveller.name, "target": target, "seconds": seconds }));
        let (operator, action) = (traveller.operator.as_str(), "open traveller's link");
        let deed = Deed { operator, source, host: Some(&self.here), action, before: None, after };
        self.store.write_down(&deed, now).await?;
        Ok(Body(answer))
    }

    /// Whether an operator exempted it for as long: that is not cut short.
    async fn is_exempt_for(&self, target: &str, seconds: u64) -> Result<bool, Problem> {
        let records = self.exempted(target).await?;
        let is_enough = |record: &RecordReport| record.remaining.is_none_or(|left| left >= seconds);
        Ok(records.iter().any(is_enough))
    }

    /// Ends what a link exempted, unless somebody has exempted it otherwise since.
    async fn let_in_no_longer(&self, traveller: &Traveller) -> Result<(), Problem> {
        let Some(target) = &traveller.target else { return Ok(()) };
        let note = note(traveller);
        if self.exempted(target).await?.iter().any(|record| record.note == note) {
            let targets = vec![target.clone()];
            self.ask(&Request::Remove { kind: Book::Exemption, targets, origin: None }).await?;
        }
        Ok(())
    }

    /// How operators exempted this very target.
    async fn exempted(&self, target: &str) -> Result<Vec<RecordReport>, Problem> {
        let targets = vec![target.to_owned()];
        let list = Request::List { kind: Book::Exemption, targets };
        let Reply::Records(mut records) = self.ask(&list).await? else { return Err(confused()) };
        records.records.retain(|it| it.target == target && it.origin == Origin::Operator);
        Ok(records.records)
    }
}

impl TravellerReport {
    fn of(traveller: Traveller) -> Self {
        Self {
            ends: clock::written(traveller.ends()),
            id: traveller.id,
            name: traveller.name,
            operator: traveller.operator,
            seconds: traveller.seconds,
            opened: traveller.opened.map(clock::written),
            target: traveller.target,
        }
    }
}

fn note(traveller: &Traveller) -> String {
    format!("traveller: {} (link {})", traveller.name, traveller.id)
}

/// What is exempted for somebody at an address: of IPv6 its network, whose devices change their addresses.
fn target(source: &str) -> Result<String, Problem> {
    let address: Option<IpAddr> = source.parse().ok();
    match address {
        Some(IpAddr::V4(address))
            if !(address.is_private() || address.is_loopback() || address.is_link_local()) =>
        {
            Ok(address.to_string())
        }
        Some(IpAddr::V6(address))
            if !(address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()) =>
        {
            Ok(format!("{}/64", network(address)))
        }
        _ => Err(Problem::new(
            Kind::Invalid,
            format!(
                "the portal sees you at {source}, which is no address of the internet: it must be reached directly, not through SSH or a proxy"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_internet_is_exempted_and_of_ipv6_its_network() {
        assert_eq!(target("1.2.3.4").unwrap(), "1.2.3.4");
        assert_eq!(target("2a02:1:2:3:4:5:6:7").unwrap(), "2a02:1:2:3::/64");
        assert_eq!(target("2a02:1::7").unwrap(), "2a02:1::/64");
        for inner in
            ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1", "fe80::1", "unknown"]
        {
            assert!(target(inner).is_err(), "{inner}");
        }
    }
}
