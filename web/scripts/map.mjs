// Draws the map once, when the page is built: the countries of Natural Earth at 1:50 m, simplified and projected, as the
// paths of an SVG, and a point in each for its dot. `src/map/world.json` is what comes out.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { geoEqualEarth, geoPath } from "d3-geo";
import isoCountries from "i18n-iso-countries";
import { feature } from "topojson-client";
import { presimplify, quantile, simplify } from "topojson-simplify";

const WIDTH = 960;
const HEIGHT = 440;
/** The share of points that are left. */
const KEPT = 0.08;
/** Kosovo has no number in ISO 3166. */
const CODES = { Kosovo: "XK" };

const atlas = createRequire(import.meta.url).resolve("world-atlas/countries-50m.json");
const topology = presimplify(JSON.parse(readFileSync(atlas, "utf8")));
const simple = simplify(topology, quantile(topology, KEPT));
const countries = feature(simple, simple.objects.countries).features.filter(({ id }) => id !== "010");

const projection = geoEqualEarth().fitSize([WIDTH, HEIGHT], {
  type: "FeatureCollection",
  features: countries,
});
const path = geoPath(projection).digits(1);
/** The largest part of a country: its dot is not to lie between an island and the mainland. */
const largest = ({ geometry }) =>
  geometry.type === "Polygon"
    ? geometry
    : geometry.coordinates
        .map((coordinates) => ({ type: "Polygon", coordinates }))
        .reduce((one, other) => (path.area(other) > path.area(one) ? other : one));

// Some countries are drawn in parts that have the same code.
const shapes = new Map();
for (const country of countries) {
  const code = isoCountries.numericToAlpha2(country.id) ?? CODES[country.properties.name];
  const drawn = path(country);
  if (!code || !drawn) continue;
  const [before = "", point = path.centroid(largest(country)).map(Math.round)] = shapes.get(code) ?? [];
  shapes.set(code, [before + drawn, point]);
}

mkdirSync("src/map", { recursive: true });
writeFileSync(
  "src/map/world.json",
  JSON.stringify({
    width: WIDTH,
    height: HEIGHT,
    shapes: [...shapes].map(([code, shape]) => [code, ...shape]),
  }),
);
