// The countries, by search and by region; the chosen ones first, then those that call most.

import { lazy, Suspense, useId, useMemo, useState } from "react";
import type { Countries } from "../api/client";
import { type Draft, rows, toggled } from "../policy";
import { useWords } from "../words";
import { Code } from "./Code";

// It is as large as the rest of the page, and comes after it.
const WorldMap = lazy(() => import("../map/WorldMap"));

interface Picker {
  countries: Countries;
  draft: Draft;
  set: (draft: Draft) => void;
  packets: ReadonlyMap<string, number>;
}

export function CountryPicker({ countries, draft, set, packets }: Picker) {
  const { words, country, number } = useWords();
  const [search, setSearch] = useState("");
  const [first] = useState(draft.countries);
  const id = useId();
  const shown = useMemo(
    () => rows(countries.countries, country, draft, packets, first, search),
    [countries, country, draft, packets, first, search],
  );
  const most = Math.max(1, ...packets.values());
  return (
    <section className="picker stack" aria-label={words.policy.countries}>
      <div className="search">
        <label htmlFor={id} className="unseen">
          {words.policy.search}
        </label>
        <input
          id={id}
          type="search"
          placeholder={words.policy.search}
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
        <span className="quiet" role="status">
          {words.policy.chosen(draft.countries.size)}
        </span>
        {draft.countries.size > 0 && (
          <button type="button" onClick={() => set({ ...draft, countries: new Set() })}>
            {words.policy.clear}
          </button>
        )}
      </div>
      <Groups countries={countries} draft={draft} set={set} />
      <details className="groups" open>
        <summary>{words.policy.map}</summary>
        <Suspense fallback={<div className="map" />}>
          <WorldMap draft={draft} toggle={(code) => set(toggled(draft, [code]))} packets={packets} />
        </Suspense>
      </details>
      <ul className="countries">
        {shown.map((row) => (
          <li key={row.code}>
            <label>
              <input type="checkbox" checked={row.chosen} onChange={() => set(toggled(draft, [row.code]))} />
              <Code code={row.code} />
              <span className="name">{row.name}</span>
              {row.packets > 0 && (
                <meter
                  min={0}
                  max={most}
                  value={row.packets}
                  title={words.policy.packets(number(row.packets))}
                  aria-label={words.policy.packets(number(row.packets))}
                />
              )}
            </label>
          </li>
        ))}
      </ul>
      {shown.length === 0 && <p className="quiet">{words.policy.noMatch}</p>}
    </section>
  );
}

function Groups({ countries, draft, set }: Omit<Picker, "packets">) {
  const { words } = useWords();
  return (
    <details className="groups">
      <summary>{words.policy.groups}</summary>
      <ul className="inline">
        {countries.groups.map((group) => (
          <li key={group.name}>
            <button
              type="button"
              title={group.description}
              aria-pressed={group.countries.every((code) => draft.countries.has(code))}
              onClick={() => set(toggled(draft, group.countries))}
            >
              {group.name.slice(1)}
            </button>
          </li>
        ))}
      </ul>
    </details>
  );
}
