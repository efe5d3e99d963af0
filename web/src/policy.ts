// What an operator is choosing, before it is asked for.

import type { Change, Choice, Countries, Mode, Risk, Status } from "./api/client";

export interface Draft {
  mode: Mode;
  countries: ReadonlySet<string>;
  hosting: boolean;
  /** What the page does not offer, where it was said. */
  unknown?: Change["unknown"];
  disputed?: Change["disputed"];
}

/** A draft as the portal keeps it. */
export function choice({ mode, countries, hosting, unknown, disputed }: Draft): Choice {
  return {
    mode,
    countries: [...countries].sort(),
    hosting: hosting ? "drop" : "pass",
    unknown: unknown ?? null,
    disputed: disputed ?? null,
  };
}

export function drafted({ mode, countries, hosting, unknown, disputed }: Choice): Draft {
  return {
    mode,
    countries: new Set(countries),
    hosting: hosting === "drop",
    unknown: unknown ?? null,
    disputed: disputed ?? null,
  };
}

/** What is in force, as a draft; where nothing was chosen yet, countries are chosen to be let in. */
export function inForce(status: Status): Draft {
  if (status.mode === "block" && status.countries.length === 0)
    return { mode: "allow", countries: new Set(), hosting: false };
  const { mode, countries, hosting, unknown, disputed } = status;
  return { mode, countries: new Set(countries), hosting: hosting === "drop", unknown, disputed };
}

export function same(one: Draft, other: Draft): boolean {
  const differs = <T>(one: T, other: T) => one != null && other != null && one !== other;
  return (
    one.mode === other.mode &&
    one.hosting === other.hosting &&
    !differs(one.unknown, other.unknown) &&
    !differs(one.disputed, other.disputed) &&
    one.countries.size === other.countries.size &&
    [...one.countries].every((code) => other.countries.has(code))
  );
}

/** The other mode has another way with unknown countries, unless that is said anew. */
export function turned(draft: Draft, mode: Mode): Draft {
  return { ...draft, mode, unknown: null };
}

/** The same with these countries chosen, or none of them if all were. */
export function toggled(draft: Draft, codes: readonly string[]): Draft {
  const countries = new Set(draft.countries);
  const all = codes.every((code) => countries.has(code));
  for (const code of codes) all ? countries.delete(code) : countries.add(code);
  return { ...draft, countries };
}

/** A change that leaves alone what the page does not offer. */
export function change(draft: Draft, status: Status, accept: Risk[] = []): Change {
  return {
    mode: draft.mode,
    countries: [...draft.countries].sort(),
    hosting: draft.mode === "allow" && draft.hosting ? "drop" : "pass",
    unknown: draft.unknown ?? (status.mode === draft.mode ? status.unknown : null),
    disputed: draft.disputed ?? status.disputed,
    scope: status.scope,
    accept,
  };
}

export interface Row {
  code: string;
  name: string;
  chosen: boolean;
  packets: number;
}

/** Letters as people search for them: without case and marks. */
export function plain(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}

/**
 * The countries that match, those in `first` before the others, then by their packets, then by name. `first` is what was
 * chosen when the list was opened, so that a row stays where it is while it is ticked.
 */
export function rows(
  countries: Countries["countries"],
  named: (code: string) => string,
  draft: Draft,
  packets: ReadonlyMap<string, number>,
  first: ReadonlySet<string>,
  search: string,
): Row[] {
  const wanted = plain(search.trim());
  const row = ({ code, name }: { code: string; name: string }) => ({
    code,
    name: named(code),
    chosen: draft.countries.has(code),
    packets: packets.get(code) ?? 0,
    matches: [code, name, named(code)].some((text) => plain(text).includes(wanted)),
  });
  const order = (one: Row, other: Row) =>
    Number(first.has(other.code)) - Number(first.has(one.code)) ||
    other.packets - one.packets ||
    one.name.localeCompare(other.name);
  return countries
    .map(row)
    .filter(({ matches }) => matches)
    .map(({ matches: _, ...row }) => row)
    .sort(order);
}
