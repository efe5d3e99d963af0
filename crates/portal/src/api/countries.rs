//! What there is to select.

use geofilter_core::country::{CountryCode, CountryId, CountrySet, groups};
use serde::Serialize;
use utoipa::ToSchema;

use super::Body;
use crate::problem::Problem;
use crate::session::{By, Own, Seeing};

/// The countries and their groups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Countries {
    /// All of them.
    countries: Vec<Country>,
    /// The groups that have a name; the seven continents come first, and share out all countries.
    groups: Vec<Group>,
}

/// A country.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Country {
    /// Its code.
    code: CountryCode,
    /// Its short English name.
    name: &'static str,
}

/// A group of countries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Group {
    /// Its name, with the `@`.
    name: &'static str,
    /// What it holds, for people.
    description: &'static str,
    /// They.
    countries: CountrySet,
}

/// The countries and groups that can be selected.
#[utoipa::path(
    get, path = "/api/v1/countries", tag = "countries",
    responses((status = 200, body = Countries), Problem)
)]
pub(super) async fn countries(_by: By<Own<Seeing>>) -> Body<Countries> {
    let country = |id: CountryId| Country { code: id.code(), name: id.name() };
    let group = |group: geofilter_core::country::Group| Group {
        name: group.name,
        description: group.description,
        countries: group.countries,
    };
    Body(Countries {
        countries: CountryId::all().map(country).collect(),
        groups: groups().map(group).collect(),
    })
}
