// What is being stopped, as it happens.

import { useMemo } from "react";
import { Link } from "wouter";
import type { Status } from "../api/client";
import { useLog, useStatus } from "../api/host";
import { useLive } from "../api/live";
import { key, merged } from "../log";
import { Code } from "../parts/Code";
import { Drop, useAsking } from "../parts/Drop";
import { Failure, Loaded } from "../parts/Notice";
import { OverTime } from "../parts/OverTime";
import { useWords } from "../words";

/** Countries that have a bar. */
const BARS = 12;
/** Drops that are listed; the log has all. */
const LATEST = 6;

export function Live() {
  const { words } = useWords();
  const status = useStatus();
  return (
    <div className="stack">
      <h1>{words.live.title}</h1>
      <Loaded query={status}>{(status) => <Totals status={status} />}</Loaded>
      <OverTime />
      <Latest />
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
      <p className="quiet small">
        {words.live.sinceAttached} {status.sampled && words.live.sampled}
      </p>
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

function Latest() {
  const { words } = useWords();
  const live = useLive();
  const log = useLog();
  const now = useMemo(
    () => merged(live.drops, log.data?.entries ?? []).slice(0, LATEST),
    [live.drops, log.data],
  );
  const { shown, hold, why, said, panel } = useAsking(now);
  return (
    <section className="stack" aria-labelledby="latest">
      <div className="filters">
        <h2 id="latest">{words.live.latest}</h2>
        {shown.length > 0 && <Link href="/log">{words.live.all}</Link>}
      </div>
      {said}
      <Failure error={log.error} />
      {shown.length === 0 ? (
        <p className="quiet empty">{words.live.quiet}</p>
      ) : (
        <ol className="latest" onPointerEnter={() => hold(true)} onPointerLeave={() => hold(false)}>
          {shown.map((entry) => (
            <li key={key(entry)} className="row">
              <Drop entry={entry} why={why} />
            </li>
          ))}
        </ol>
      )}
      {panel}
    </section>
  );
}
