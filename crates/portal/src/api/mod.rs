//! The HTTP API, `/api/v1`: [`session`] is who asks, [`sessions`] and [`operators`] say where and who may, [`hosts`] what hosts do, [`records`] their exemptions, bans and peers,
//! [`live`] what happens there now, [`series`] and [`history`] what did before; [`choices`] are what operators did not apply yet, and an
//! [`export`] takes them elsewhere; [`countries`] are what there is to select, [`audit`] what was changed, [`recipients`] whom to tell, [`travellers`] links that let in; [`fleet`] is other hosts, in groups, [`leading`] what those are told, [`bans`] what they share, [`world`] data for them, [`rollouts`] some before the others, and a [`report`] what came of it. A document of
//! `geofilter_core::wire` goes through as it is. The description is generated from this code ([`document`]).

mod audit;
mod bans;
mod choices;
mod countries;
mod export;
mod fleet;
mod geodata;
mod history;
mod hosts;
mod leading;
mod live;
mod operators;
mod recipients;
mod records;
mod report;
mod rollouts;
mod series;
mod session;
mod sessions;
mod tokens;
mod totp;
mod travellers;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{self, Kind, Problem};
use crate::server::Shared;
use crate::session::COOKIE;
use crate::{names, page};

/// Bytes of a request's body.
const LONGEST: usize = 256 * 1024;
/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing that the page shows or runs comes from anywhere else, or stands in its text.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                              connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
                              form-action 'self'; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "GeoFilter portal",
        version = "1",
        description = "Select countries, see what that does, and what is dropped. Whoever asks has a session, by the cookie that signing in sets; a request that changes something repeats the session's `csrf` in the header `x-csrf-token`. A program shows a token instead, in `Authorization: Bearer`, and repeats nothing; who may sign in, who may do what, and who is told of what is not for programs.",
        license(name = "Apache-2.0 OR MIT")
    ),
    components(schemas(Problem)),
    modifiers(&Session),
    security(("session" = []), ("token" = []))
)]
struct Described;

struct Session;

impl Modify for Session {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE)));
        components.add_security_scheme("session", cookie);
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", token);
        components.responses.insert(problem::NAME.to_owned(), problem::described().into());
    }
}

fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(session::current, session::sign_in, session::sign_out))
        .routes(routes!(session::first))
        .routes(routes!(session::new_password))
        .routes(routes!(session::prove))
        .routes(routes!(totp::offer_totp, totp::begin_totp, totp::end_totp))
        .routes(routes!(totp::new_recovery_codes))
        .routes(routes!(totp::end_totp_of))
        .routes(routes!(sessions::sessions))
        .routes(routes!(sessions::end_session))
        .routes(routes!(operators::operators, operators::add_operator))
        .routes(routes!(tokens::tokens, tokens::add_token))
        .routes(routes!(tokens::remove_token))
        .routes(routes!(operators::set_role, operators::remove_operator))
        .routes(routes!(operators::end_sessions_of))
        .routes(routes!(countries::countries))
        .routes(routes!(hosts::hosts))
        .routes(routes!(hosts::status))
        .routes(routes!(hosts::preview))
        .routes(routes!(hosts::enforce))
        .routes(routes!(hosts::confirm))
        .routes(routes!(hosts::revert))
        .routes(routes!(hosts::observe))
        .routes(routes!(hosts::pause))
        .routes(routes!(hosts::resume))
        .routes(routes!(hosts::off))
        .routes(routes!(hosts::why))
        .routes(routes!(hosts::sources))
        .routes(routes!(hosts::evidence))
        .routes(routes!(geodata::geodata))
        .routes(routes!(geodata::update))
        .routes(routes!(geodata::approve))
        .routes(routes!(geodata::rollback))
        .routes(routes!(live::log))
        .routes(routes!(live::events))
        .routes(routes!(records::exemptions, records::exempt, records::end_exemption))
        .routes(routes!(records::bans, records::ban, records::end_ban))
        .routes(routes!(records::peers, records::end_peer))
        .routes(routes!(series::series))
        .routes(routes!(history::history))
        .routes(routes!(history::restore))
        .routes(routes!(choices::draft, choices::set_draft, choices::remove_draft))
        .routes(routes!(choices::profiles, choices::add_profile))
        .routes(routes!(choices::set_profile, choices::remove_profile))
        .routes(routes!(export::export))
        .routes(routes!(export::import))
        .routes(routes!(fleet::fleet))
        .routes(routes!(fleet::metrics))
        .routes(routes!(report::fleet_report))
        .routes(routes!(leading::add_tenant))
        .routes(routes!(leading::set_tenant, leading::remove_tenant))
        .routes(routes!(leading::set_tenant_policy))
        .routes(routes!(leading::add_group))
        .routes(routes!(leading::remove_group))
        .routes(routes!(leading::set_group_policy))
        .routes(routes!(leading::add_ticket))
        .routes(routes!(leading::revoke_host))
        .routes(routes!(leading::set_host_policy))
        .routes(routes!(leading::move_host))
        .routes(routes!(leading::settle_drift))
        .routes(routes!(leading::rebase))
        .routes(routes!(rollouts::rollouts, rollouts::begin_rollout))
        .routes(routes!(rollouts::steer_rollout))
        .routes(routes!(rollouts::ask_fleet_preview))
        .routes(routes!(rollouts::fleet_preview))
        .routes(routes!(bans::shared_bans, bans::share_bans))
        .routes(routes!(bans::withdraw_ban))
        .routes(routes!(world::fleet_world))
        .routes(routes!(world::update_fleet_world))
        .routes(routes!(world::approve_fleet_world))
        .routes(routes!(world::roll_back_fleet_world))
        .routes(routes!(series::fleet_series))
        .routes(routes!(audit::audit))
        .routes(routes!(recipients::recipients, recipients::add_recipient))
        .routes(routes!(recipients::set_wants, recipients::remove_recipient))
        .routes(routes!(recipients::test_recipient))
        .routes(routes!(travellers::travellers, travellers::add_traveller))
        .routes(routes!(travellers::remove_traveller))
        .routes(routes!(travellers::travel))
}

/// The description of the API, as `openapi/geofilter-v1.json` holds it.
pub fn document() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

/// Everything that is served.
/// `strict` has browsers ask by TLS alone for a year.
pub(crate) fn router(shared: Arc<Shared>, strict: bool) -> Router {
    let (api, document) = routes().split_for_parts();
    let document = Arc::new(document);
    let api = api
        .route(
            "/api/docs/openapi.json",
            get(move || async move { Json((*document).clone()).into_response() }),
        )
        .route("/api/{*path}", axum::routing::any(missing))
        .method_not_allowed_fallback(not_allowed)
        .layer(header_if_none(header::CACHE_CONTROL, "no-store"));
    let strict =
        strict.then(|| header_if_none(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"));
    api.fallback(get(page::serve))
        .layer(middleware::from_fn(from_this_page))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), names::by_its_name))
        .layer(middleware::from_fn(tell_refusals))
        .layer(DefaultBodyLimit::max(LONGEST))
        .layer(RequestBodyTimeoutLayer::new(PATIENCE))
        .layer(CompressionLayer::new())
        .layer(header_if_none(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY))
        .layer(header_if_none(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header_if_none(header::REFERRER_POLICY, "no-referrer"))
        .layer(header_if_none(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .layer(header_if_none(
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ))
        .layer(header_if_none(
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ))
        .layer(option_layer(strict))
        .layer(CatchPanicLayer::new())
        .with_state(shared)
}

fn header_if_none(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

async fn missing() -> Problem {
    Problem::new(Kind::Missing, "there is nothing at this path: see /api/docs/openapi.json")
}

async fn not_allowed() -> Problem {
    let status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
    let detail = "this path does not take that method: see /api/docs/openapi.json";
    Problem { status, ..Problem::new(Kind::Missing, detail) }
}

/// Says in the log who was refused for who it is: wrong passwords and codes, roles, other pages, and who has to wait.
async fn tell_refusals(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|from| from.ip());
    let response = next.run(request).await;
    let kind = response.extensions().get::<Kind>();
    // Every page that is opened first asks whether it has a session.
    let asked = method == Method::GET && kind == Some(&Kind::Session);
    if let (Some(kind), Some(from), false) = (kind, from, asked)
        && matches!(kind, Kind::Session | Kind::Code | Kind::Forbidden | Kind::Prove | Kind::Locked)
    {
        tracing::warn!(?kind, %method, path, from = %from.to_canonical(), "refused");
    }
    response
}

/// Another page's request changes nothing here, also where no session is needed.
async fn from_this_page(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    match site {
        Some(site) if changes && !matches!(site, b"same-origin" | b"none") => {
            Problem::new(Kind::Forbidden, "this request comes from another page").into_response()
        }
        _ => next.run(request).await,
    }
}

/// A body, refused as a [`Problem`] if it is not what is asked for.
#[derive(FromRequest)]
#[from_request(via(Json), rejection(Problem))]
pub(crate) struct Body<T>(pub(crate) T);

/// A part of the path, refused as a [`Problem`] if it is not what is asked for.
#[derive(axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(crate) struct Path<T>(pub(crate) T);

/// What follows a `?`, refused as a [`Problem`].
#[derive(axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Body<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}
