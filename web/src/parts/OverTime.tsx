// What was let in and what was not, over time: drawn, and as a table.

import { lazy, Suspense, useMemo, useState } from "react";
import { Link } from "wouter";
import type { Reason, Series } from "../api/client";
import { type By, type Range, rangeNames, useHistory, useSeries } from "../api/past";
import { type Course, course, eventful, gaps } from "../series";
import { useWords } from "../words";
import { Loaded } from "./Notice";

// It is drawn by a library that no other page needs.
const Chart = lazy(() => import("./Chart"));

/** Policies that are asked for, to mark where one began. */
const MARKED = 200;
/** Rows of the table. */
const ROWS = 200;

/** What is shown: everything, or one country or reason. */
type Shown = { by: By; key: string } | undefined;

export function OverTime() {
  const { words } = useWords();
  const [range, setRange] = useState<Range>("hours");
  const [shown, show] = useState<Shown>();
  const countries = useSeries(range, "country");
  const reasons = useSeries(range, "reason");
  const told = shown?.by === "reason" ? reasons : countries;
  return (
    <section className="stack" aria-labelledby="over-time">
      <div className="filters">
        <h2 id="over-time">{words.overTime.title}</h2>
        <fieldset className="buttons ranges">
          <legend className="unseen">{words.overTime.range}</legend>
          {rangeNames.map((name) => (
            <button type="button" key={name} aria-pressed={name === range} onClick={() => setRange(name)}>
              {words.overTime.ranges[name]}
            </button>
          ))}
        </fieldset>
        <What shown={shown} show={show} countries={countries.data} reasons={reasons.data} />
      </div>
      <Loaded query={told}>{(series) => <Drawn series={series} shown={shown} range={range} />}</Loaded>
    </section>
  );
}

interface Choosing {
  shown: Shown;
  show: (shown: Shown) => void;
  countries: Series | undefined;
  reasons: Series | undefined;
}

function What({ shown, show, countries, reasons }: Choosing) {
  const { words, country } = useWords();
  const choose = (value: string) => {
    const [by, key] = value.split(" ");
    show(key ? { by: by as By, key } : undefined);
  };
  return (
    <label className="choose">
      {words.overTime.what}
      <select
        value={shown ? `${shown.by} ${shown.key}` : ""}
        onChange={(event) => choose(event.target.value)}
      >
        <option value="">{words.overTime.everything}</option>
        <optgroup label={words.policy.countries}>
          {countries?.parts.map(({ key }) => (
            <option key={key} value={`country ${key}`}>
              {country(key)}
            </option>
          ))}
        </optgroup>
        <optgroup label={words.overTime.reasons}>
          {reasons?.parts.map(({ key }) => (
            <option key={key} value={`reason ${key}`}>
              {words.reasons[key as Reason]}
            </option>
          ))}
        </optgroup>
      </select>
    </label>
  );
}

function Drawn({ series, shown, range }: { series: Series; shown: Shown; range: Range }) {
  const { words, number, time, moment, language } = useWords();
  const history = useHistory(MARKED);
  const [pointed, point] = useState<number>();
  const of = useMemo(() => {
    const line = series.parts.find(({ key }) => key === shown?.key)?.packets ?? series.total;
    return course(series, line);
  }, [series, shown]);
  const from = Date.parse(series.from);
  const changes = (history.data?.policies ?? []).filter(({ began }) => Date.parse(began) >= from);
  const began = changes.map(({ began }) => Date.parse(began) / 1_000);
  const key = began.join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the same moments are not drawn anew
  const marks = useMemo(() => began, [key]);
  const ticks = useMemo(() => {
    const format: Intl.DateTimeFormatOptions =
      range === "hours"
        ? { timeStyle: "short" }
        : range === "days"
          ? { weekday: "short", day: "numeric", hour: "2-digit" }
          : { month: "short", year: "numeric", day: "numeric" };
    return new Intl.DateTimeFormat(language, format);
  }, [language, range]);
  if (of.stopped.every((count) => count === null))
    return <p className="quiet empty">{words.overTime.empty}</p>;
  const unit = words.overTime.unit(length(series.step, language));
  const at = pointed === undefined ? undefined : of.times[pointed];
  return (
    <>
      <p className="key small">
        <span className="dropped">{words.overTime.stopped[of.kind]}</span>
        <span className="passed">{words.live.passed}</span>
        {marks.length > 0 && (
          <span className="changed">
            <Link href="/history">{words.overTime.changed(marks.length)}</Link>
          </span>
        )}
        <span className="quiet">
          {pointed !== undefined &&
            at !== undefined &&
            words.overTime.at(
              (range === "hours" ? time : moment)(new Date(at * 1_000)),
              count(of.stopped[pointed]),
              count(of.passed[pointed]),
            )}
        </span>
      </p>
      <Suspense fallback={<div className="chart" />}>
        <Chart
          course={of}
          marks={marks}
          label={words.overTime.label(words.overTime.ranges[range])}
          unit={unit}
          number={number}
          moment={(seconds) => ticks.format(new Date(seconds * 1_000))}
          point={point}
        />
      </Suspense>
      <Table of={of} step={series.step} unit={unit} />
    </>
  );

  function count(of: number | null | undefined): string {
    return of == null ? words.overTime.unknown : number(of);
  }
}

function Table({ of, step, unit }: { of: Course; step: number; unit: string }) {
  const { words, number, time, moment } = useWords();
  const [open, setOpen] = useState(false);
  const when = (seconds: number) => (step < 60 ? time : moment)(new Date(seconds * 1_000));
  const rows = open ? eventful(of) : [];
  const unseen = open ? gaps(of, step) : [];
  return (
    <details className="groups" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{words.overTime.table}</summary>
      {unseen.length > 0 && (
        <>
          <p className="quiet small">{words.overTime.gaps}</p>
          <ul className="quiet small">
            {unseen.slice(0, 10).map(([from, to]) => (
              <li key={from}>{words.overTime.gap(when(from), when(to))}</li>
            ))}
          </ul>
        </>
      )}
      <div className="scrolls">
        <table>
          <caption>
            {unit}
            {rows.length > ROWS && `, ${words.overTime.last(number(ROWS))}`}
          </caption>
          <thead>
            <tr>
              <th scope="col">{words.live.time}</th>
              <th scope="col" className="number">
                {words.overTime.stopped[of.kind]}
              </th>
              <th scope="col" className="number">
                {words.live.passed}
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, ROWS).map((row) => (
              <tr key={row.time}>
                <th scope="row">{when(row.time)}</th>
                <td className="number">{number(row.stopped ?? 0)}</td>
                <td className="number">{number(row.passed ?? 0)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

/** A step in words. */
function length(seconds: number, language: string): string {
  const unit = (value: number, unit: "day" | "hour" | "minute" | "second") =>
    new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short" }).format(value);
  if (seconds % 86_400 === 0) return unit(seconds / 86_400, "day");
  if (seconds % 3_600 === 0) return unit(seconds / 3_600, "hour");
  return seconds % 60 === 0 ? unit(seconds / 60, "minute") : unit(seconds, "second");
}
