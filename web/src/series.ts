// What was counted over time, as a chart and a table show it.

import type { Series } from "./api/client";

export type Line = Series["total"];
type Counts = (number | null)[];

export interface Course {
  /** When each step begins, in seconds since 1970. */
  times: number[];
  /** Packets that were dropped, or would have been; none where nobody looked. */
  stopped: Counts;
  passed: Counts;
  /** Whether these were dropped, would have been, or some of both. */
  kind: "dropped" | "would-drop" | "both";
}

export function course(series: Series, line: Line): Course {
  const first = Date.parse(series.from) / 1_000;
  const { dropped, would_drop } = line;
  const some = (counts: readonly (number | null)[]) => counts.some((count) => (count ?? 0) > 0);
  return {
    times: dropped.map((_, step) => first + step * series.step),
    stopped: dropped.map((count, step) => (count == null ? null : count + (would_drop[step] ?? 0))),
    passed: [...line.passed],
    kind: !some(would_drop) ? "dropped" : some(dropped) ? "both" : "would-drop",
  };
}

export interface Row {
  time: number;
  stopped: number | null;
  passed: number | null;
}

/** The steps in which something was counted, the newest first. */
export function eventful({ times, stopped, passed }: Course): Row[] {
  const rows = times.map((time, step) => ({
    time,
    stopped: stopped[step] ?? null,
    passed: passed[step] ?? null,
  }));
  return rows.filter((row) => (row.stopped ?? 0) + (row.passed ?? 0) > 0).reverse();
}

/** Steps at the end that may not be over, or not be kept, yet. */
const OPEN = 2;

/** From when until when nobody looked, in seconds since 1970; the latest first. */
export function gaps({ times, stopped }: Course, step: number): [from: number, to: number][] {
  const found: [number, number][] = [];
  times.forEach((time, at) => {
    if (stopped[at] !== null) return;
    const last = found[0];
    if (last && last[1] === time) last[1] = time + step;
    else found.unshift([time, time + step]);
  });
  const over = (times.at(-1) ?? 0) - (OPEN - 1) * step;
  return found.filter(([from]) => from < over);
}
