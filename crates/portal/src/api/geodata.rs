//! The world data of a host: how it stands, and what is done with it.

use std::sync::Arc;

use axum::extract::State;
use geofilter_core::wire::{Geodata, GeodataAsk, Reply, Request};

use super::Body;
use super::hosts::confused;
use crate::host::Host;
use crate::problem::Problem;
use crate::server::Shared;
use crate::session::{By, Changing, Seeing};

/// The world data: what is in use, what was before, what is held, and what is being done.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/geodata", tag = "world data", params(Host),
    responses((status = 200, body = Geodata), Problem)
)]
pub(super) async fn geodata(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
) -> Result<Body<Geodata>, Problem> {
    shared.geodata(GeodataAsk::State).await
}

/// Ask the sources for newer data. It is used unless it differs too much.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/geodata/update", tag = "world data", params(Host),
    responses((status = 200, body = Geodata), Problem)
)]
pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
) -> Result<Body<Geodata>, Problem> {
    shared.change_geodata(&by, "update world data", GeodataAsk::Update).await
}

/// Use the data that is held.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/geodata/approve", tag = "world data", params(Host),
    responses((status = 200, body = Geodata), Problem)
)]
pub(super) async fn approve(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
) -> Result<Body<Geodata>, Problem> {
    shared.change_geodata(&by, "approve world data", GeodataAsk::Approve).await
}

/// Use the data that was in use before.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/geodata/rollback", tag = "world data", params(Host),
    responses((status = 200, body = Geodata), Problem)
)]
pub(super) async fn rollback(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
) -> Result<Body<Geodata>, Problem> {
    shared.change_geodata(&by, "roll back world data", GeodataAsk::Rollback).await
}

impl Shared {
    async fn geodata(&self, ask: GeodataAsk) -> Result<Body<Geodata>, Problem> {
        match self.ask(&Request::Geodata { ask }).await? {
            Reply::Geodata(geodata) => Ok(Body(*geodata)),
            _ => Err(confused()),
        }
    }

    /// Does something with it, and writes down who did.
    async fn change_geodata(
        &self,
        by: &By<Changing>,
        action: &str,
        ask: GeodataAsk,
    ) -> Result<Body<Geodata>, Problem> {
        let done = self.geodata(ask).await?;
        // What could not be written down is in the portal's log.
        let _ = self.note(by, action, None, None).await;
        Ok(done)
    }
}
