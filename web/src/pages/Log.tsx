// Each drop that is known, to filter and save; and from any row why, and the way to let somebody in.

import { useMemo, useState } from "react";
import type { LogEntry } from "../api/client";
import { useLog } from "../api/host";
import { useLive } from "../api/live";
import { csv, foundIn, key, matching, merged } from "../log";
import { Drop, useAsking } from "../parts/Drop";
import { Loaded } from "../parts/Notice";
import { Windowed } from "../parts/Windowed";
import { save } from "../save";
import { useWords } from "../words";

export function Log() {
  const { words } = useWords();
  const log = useLog();
  return (
    <div className="stack">
      <h1>{words.log.title}</h1>
      <p className="quiet">{words.log.about}</p>
      <Loaded query={log}>{({ entries }) => <Drops before={entries} />}</Loaded>
    </div>
  );
}

function Drops({ before }: { before: LogEntry[] }) {
  const { words, number } = useWords();
  const [country, setCountry] = useState("");
  const [reason, setReason] = useState("");
  const live = useLive();
  const all = useMemo(() => merged(live.drops, before), [live.drops, before]);
  const now = useMemo(() => matching(all, country, reason), [all, country, reason]);
  const { shown, hold, why, said, panel } = useAsking(now);
  return (
    <section className="stack" aria-label={words.live.log}>
      <div className="filters">
        <Choose label={words.live.country} value={country} set={setCountry} of={foundIn(all, "country")} />
        <Choose
          label={words.live.reason}
          value={reason}
          set={setReason}
          of={foundIn(all, "reason")}
          said={(one) => words.reasons[one as LogEntry["reason"]]}
        />
        <Save entries={shown} />
        <span className="quiet">{words.live.shown(number(shown.length))}</span>
      </div>
      {said}
      {live.skipped > 0 && <p className="quiet">{words.live.skipped(number(live.skipped))}</p>}
      {shown.length === 0 ? (
        <p className="quiet empty">{all.length === 0 ? words.live.quiet : words.log.noMatch}</p>
      ) : (
        <Windowed items={shown} label={words.live.log} id={key} hold={hold}>
          {(entry) => <Drop entry={entry} why={why} />}
        </Windowed>
      )}
      {panel}
    </section>
  );
}

interface Chosen {
  label: string;
  value: string;
  set: (value: string) => void;
  of: string[];
  said?: (value: string) => string;
}

function Choose({ label, value, set, of, said = (one) => one }: Chosen) {
  const { words } = useWords();
  return (
    <label className="choose">
      {label}
      <select value={value} onChange={(event) => set(event.target.value)}>
        <option value="">{words.live.any}</option>
        {of.map((one) => (
          <option key={one} value={one}>
            {said(one)}
          </option>
        ))}
      </select>
    </label>
  );
}

function Save({ entries }: { entries: readonly LogEntry[] }) {
  const { words } = useWords();
  return (
    <button
      type="button"
      onClick={() => save("geofilter-drops.csv", "text/csv", csv(entries))}
      disabled={entries.length === 0}
    >
      {words.live.csv}
    </button>
  );
}
