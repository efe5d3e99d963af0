import { expect, test } from "vitest";
import type { Series } from "./api/client";
import { course, eventful, gaps } from "./series";

const series = (dropped: (number | null)[], would: (number | null)[]): Series => ({
  from: "1970-01-01T00:01:00Z",
  step: 10,
  watched: dropped.map((count) => (count === null ? null : 10)),
  total: { dropped, would_drop: would, passed: dropped.map((count) => (count === null ? null : 1)) },
  parts: [],
});

test("a gap stays a gap, and is no zero", () => {
  const of = series([0, null, null, 4, null], [0, null, null, 0, null]);
  const shown = course(of, of.total);
  expect(shown.times).toEqual([60, 70, 80, 90, 100]);
  expect(shown.stopped).toEqual([0, null, null, 4, null]);
  expect(gaps(shown, 10)).toEqual([[70, 90]]);
  expect(eventful(shown).map((row) => [row.time, row.stopped])).toEqual([
    [90, 4],
    [60, 0],
  ]);
});

test("what was dropped and what would have been is said", () => {
  const kind = (dropped: number[], would: number[]) => {
    const of = series(dropped, would);
    return course(of, of.total).kind;
  };
  expect([kind([1], [0]), kind([0], [1]), kind([1, 0], [0, 1]), kind([0], [0])]).toEqual([
    "dropped",
    "would-drop",
    "both",
    "dropped",
  ]);
});
