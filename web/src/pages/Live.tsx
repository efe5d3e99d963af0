// What is being stopped, as it happens; and from any row why, and the way to let somebody in.

import { useMemo, useState } from "react";
import type { LogEntry, Status } from "../api/client";
import { useLog, useStatus } from "../api/host";
import { useLive } from "../api/live";
import { csv, foundIn, key, matching, merged } from "../log";
import { Code } from "../parts/Code";
import { Copied } from "../parts/Copied";
import { Failure, Loaded, Note } from "../parts/Notice";
import { OverTime } from "../parts/OverTime";
import { WhyPanel } from "../parts/WhyPanel";
import { Windowed } from "../parts/Windowed";
import { save } from "../save";
import { useWords } from "../words";

/** Countries that have a bar. */
const BARS = 12;

export function Live() {
  const { words } = useWords();
  const status = useStatus();
  return (
    <div className="stack">
      <h1>{words.live.title}</h1>
      <Loaded query={status}>{(status) => <Totals status={status} />}</Loaded>
      <OverTime />
      <Drops />
    </div>
  );
}

function Totals({ status }: { status: Status }) {
  const { words, number, country } = useWords();
  const enforced = status.dropped.packets > 0 || status.state === "enforcing" || status.state === "pending";
  const told = enforced ? status.dropped : status.would_drop;
  const most = Object.entries(told.by_country)
    .sort(([, one], [, other]) => other.packets - one.packets)
    .slice(0, BARS);
  const highest = Math.max(1, ...most.map(([, traffic]) => traffic.packets));
  return (
    <section className="totals">
      <dl className="figures">
        <div>
          <dt>{enforced ? words.live.dropped : words.live.wouldDrop}</dt>
          <dd>{number(told.packets)}</dd>
        </div>
        <div>
          <dt>{words.live.passed}</dt>
          <dd>{number(status.passed.packets)}</dd>
        </div>
      </dl>
      <p className="quiet small">{words.live.sinceAttached}</p>
      {most.length > 0 && (
        <table className="bars">
          <caption>{words.live.byCountry}</caption>
          <tbody>
            {most.map(([code, traffic]) => (
              <tr key={code}>
                <th scope="row">
                  <Code code={code} /> {country(code)}
                </th>
                <td className="wide">
                  <meter min={0} max={highest} value={traffic.packets} aria-hidden="true" />
                </td>
                <td className="number">{number(traffic.packets)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Drops() {
  const { words, number } = useWords();
  const [country, setCountry] = useState("");
  const [reason, setReason] = useState("");
  const [why, setWhy] = useState<string>();
  const [said, say] = useState<string>();
  const live = useLive();
  const log = useLog();
  const all = useMemo(() => merged(live.drops, log.data?.entries ?? []), [live.drops, log.data]);
  const now = useMemo(() => matching(all, country, reason), [all, country, reason]);
  // Rows stay where they are while somebody points at them.
  const [held, hold] = useState<LogEntry[]>();
  const shown = held ?? now;
  return (
    <section className="stack" aria-label={words.live.log}>
      <div className="filters">
        <h2>{words.live.log}</h2>
        <Choose label={words.live.country} value={country} set={setCountry} of={foundIn(all, "country")} />
        <Choose
          label={words.live.reason}
          value={reason}
          set={setReason}
          of={foundIn(all, "reason")}
          said={(one) => words.reasons[one as LogEntry["reason"]]}
        />
        <span className="quiet">{words.live.shown(number(shown.length))}</span>
        <Save entries={shown} />
      </div>
      {said && <Note>{said}</Note>}
      {live.skipped > 0 && <p className="quiet">{words.live.skipped(number(live.skipped))}</p>}
      <Failure error={log.error} />
      {shown.length === 0 ? (
        <p className="quiet empty">{words.live.quiet}</p>
      ) : (
        <Windowed
          items={shown}
          label={words.live.log}
          id={key}
          hold={(pointed) => hold(pointed ? now : undefined)}
        >
          {(entry) => <Row entry={entry} why={setWhy} />}
        </Windowed>
      )}
      {why && <WhyPanel address={why} say={say} close={() => setWhy(undefined)} />}
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

function Row({ entry, why }: { entry: LogEntry; why: (address: string) => void }) {
  const { words, time, number, country } = useWords();
  const asked = [entry.method, entry.user_agent].filter(Boolean).join(" · ");
  return (
    <>
      <time dateTime={entry.time}>{time(entry.time)}</time>
      <span>
        <Code code={entry.country} /> <span className="name">{country(entry.country)}</span>
      </span>
      <Copied text={entry.source} />
      <span className="name quiet" title={entry.as_name ?? undefined}>
        {entry.as_name ?? (entry.asn ? `AS${entry.asn}` : "")}
      </span>
      <span className="name" title={asked}>
        {asked}
      </span>
      <span className={entry.enforced ? "dropped" : "would-drop"}>
        {words.reasons[entry.reason]}
        {(entry.packets ?? 1) > 1 && (
          <small className="quiet"> {words.live.stands(number(entry.packets ?? 1))}</small>
        )}
      </span>
      <span className="buttons">
        <button type="button" onClick={() => why(entry.source)}>
          {words.live.actions}
        </button>
      </span>
    </>
  );
}
