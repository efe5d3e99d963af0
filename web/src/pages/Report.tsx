// What came of it all: a month of the fleet's hosts, or of one organisation's, for whoever pays for it. It is made to be printed.

import { useState } from "react";
import type { Fleet, FleetReport } from "../api/client";
import { useFleet, useReport } from "../api/fleet";
import { Code } from "../parts/Code";
import { aDay, Compared } from "../parts/Compared";
import { Loaded } from "../parts/Notice";
import { useWords } from "../words";

/** Months that can be chosen: hosts keep two years. */
const MONTHS = 24;
/** Countries that are named. */
const NAMED = 10;

export function Report() {
  const { words } = useWords();
  const fleet = useFleet();
  return (
    <div className="stack">
      <Loaded query={fleet}>{(fleet) => <Chosen fleet={fleet} />}</Loaded>
      {!fleet.data?.address && fleet.data && <p className="quiet empty">{words.report.empty}</p>}
    </div>
  );
}

function Chosen({ fleet }: { fleet: Fleet }) {
  const { words, language } = useWords();
  const months = lastMonths(new Date());
  const [month, setMonth] = useState(months[0] ?? "");
  const [tenant, setTenant] = useState<number>();
  const report = useReport(month, tenant);
  const named = new Intl.DateTimeFormat(language, { month: "long", year: "numeric", timeZone: "UTC" });
  const name = (month: string) => named.format(new Date(`${month}-01`));
  return (
    <>
      <div className="filters">
        <h1>{words.report.title(name(month))}</h1>
        <label className="unprinted">
          {words.report.month}{" "}
          <select value={month} onChange={(event) => setMonth(event.target.value)}>
            {months.map((month) => (
              <option key={month} value={month}>
                {name(month)}
              </option>
            ))}
          </select>
        </label>
        {fleet.tenants.length > 1 && (
          <label className="unprinted">
            {words.report.of}{" "}
            <select
              value={tenant ?? ""}
              onChange={(event) => setTenant(Number(event.target.value) || undefined)}
            >
              <option value="">{words.report.all}</option>
              {fleet.tenants.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        )}
        <button type="button" className="unprinted" onClick={() => window.print()}>
          {words.evidence.print}
        </button>
      </div>
      <Loaded query={report}>{(report) => <Written report={report} />}</Loaded>
    </>
  );
}

function Written({ report }: { report: FleetReport }) {
  const { words, number, language } = useWords();
  const day = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeZone: "UTC" });
  const { without, with: having, days, hosts } = report;
  const dropped = hosts.reduce((sum, host) => sum + host.dropped, 0);
  const most = Math.max(1, ...days.map((of) => of.attempts));
  return (
    <>
      {report.organisation && <p>{report.organisation}</p>}
      <p>
        {words.report.hosts(number(hosts.length))} {words.report.dropped(number(dropped))}
      </p>
      <Compared without={without} having={having} say={words.report} />
      <p className="quiet small">{words.report.about}</p>
      {hosts.length > 0 && (
        <div className="scrolls">
          <table>
            <thead>
              <tr>
                <th scope="col">{words.hosts.host}</th>
                <th scope="col">{words.report.attempts}</th>
                <th scope="col">{words.report.before}</th>
                <th scope="col">{words.report.after}</th>
                <th scope="col">{words.fleet.dropped}</th>
              </tr>
            </thead>
            <tbody>
              {hosts.map((host) => (
                <tr key={host.id}>
                  <th scope="row">{host.name}</th>
                  <td className="number">{number(host.attempts)}</td>
                  <td className="number">{each(host.without)}</td>
                  <td className="number">{each(host.with)}</td>
                  <td className="number">{number(host.dropped)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Countries title={words.report.attemptsFrom} of={report.attempts} />
      <Countries title={words.report.droppedFrom} of={report.dropped} />
      {days.length > 0 && (
        <div className="scrolls">
          <table>
            <thead>
              <tr>
                <th scope="col">{words.evidence.day}</th>
                <th scope="col" colSpan={2}>
                  {words.evidence.attempts}
                </th>
                <th scope="col">{words.evidence.logins}</th>
                <th scope="col">{words.report.enforced}</th>
              </tr>
            </thead>
            <tbody>
              {days.map((of) => (
                <tr key={of.day}>
                  <th scope="row">{day.format(new Date(of.day))}</th>
                  <td className="number">{number(of.attempts)}</td>
                  <td>
                    <meter min={0} max={most} value={of.attempts} aria-hidden="true" />
                  </td>
                  <td className="number">{number(of.logins)}</td>
                  <td>{words.report.some(number(of.enforced), number(of.hosts))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );

  function each(span: FleetReport["with"]): string {
    return span.days > 0 ? number(Math.round(aDay(span))) : "–";
  }
}

function Countries({ title, of }: { title: string; of: FleetReport["dropped"] }) {
  const { number } = useWords();
  if (of.length === 0) return null;
  return (
    <p>
      {title}{" "}
      {of.slice(0, NAMED).map(({ country, count }) => (
        <span key={country} className="pair">
          <Code code={country} /> {number(count)}
        </span>
      ))}
    </p>
  );
}

/** The present month and those before, in UTC, as 2026-11. */
function lastMonths(now: Date): string[] {
  return Array.from({ length: MONTHS }, (_, back) =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)).toISOString().slice(0, 7),
  );
}
