import { expect, test } from "vitest";
import type { Status } from "./api/client";
import { change, type Draft, inForce, rows, same, toggled } from "./policy";

const draft = (countries: string[], more: Partial<Draft> = {}): Draft => ({
  mode: "allow",
  hosting: false,
  countries: new Set(countries),
  ...more,
});

const status = {
  mode: "allow",
  countries: ["ES", "PT"],
  hosting: "drop",
  unknown: "drop",
  disputed: "strict",
  scope: ["udp/5060"],
} as unknown as Status;

test("a group is chosen as a whole, and none of it when all of it was", () => {
  const some = toggled(draft(["ES"]), ["ES", "PT"]);
  expect([...some.countries]).toEqual(["ES", "PT"]);
  expect([...toggled(some, ["ES", "PT"]).countries]).toEqual([]);
});

test("what is in force is not a change", () => {
  expect(same(inForce(status), draft(["PT", "ES"], { hosting: true }))).toBe(true);
  expect(same(inForce(status), draft(["ES"], { hosting: true }))).toBe(false);
  expect(same(inForce(status), draft(["ES", "PT"]))).toBe(false);
  expect(same(inForce({ ...status, mode: "block", countries: [] }), draft([]))).toBe(true);
});

test("a change leaves alone what the page does not offer", () => {
  const asked = change(draft(["PT", "ES"], { hosting: true }), status, ["lose-trunk"]);
  expect(asked).toEqual({
    mode: "allow",
    countries: ["ES", "PT"],
    hosting: "drop",
    unknown: "drop",
    disputed: "strict",
    scope: ["udp/5060"],
    accept: ["lose-trunk"],
  });
  const block = change(draft(["CN"], { mode: "block", hosting: true }), status);
  expect([block.hosting, block.unknown]).toEqual(["pass", null]);
});

test("countries are found in any case, without marks, by code and in both languages", () => {
  const countries = [
    { code: "CI", name: "Ivory Coast" },
    { code: "ES", name: "Spain" },
    { code: "PT", name: "Portugal" },
  ];
  const named = (code: string) => ({ CI: "Côte d’Ivoire", ES: "Spania", PT: "Portugalia" })[code] ?? code;
  const found = (search: string) =>
    rows(countries, named, draft(["PT"]), new Map([["ES", 9]]), new Set(["PT"]), search).map(
      (row) => row.code,
    );
  expect(found("")).toEqual(["PT", "ES", "CI"]);
  expect(found("cote")).toEqual(["CI"]);
  expect(found("SPAIN")).toEqual(["ES"]);
  expect(found("es")).toEqual(["ES"]);
  expect(found("atlantis")).toEqual([]);
});
