// How old the country data is.

import type { Status } from "./api/client";

/** Days after which data that is published monthly is old: the portal tells admins of it then as well. */
export const OLD = 60;
const DAY = 86_400_000;

/** Days since a date, or the first of a month. */
export function days(date: string, now: number): number | undefined {
  return /^\d{4}-\d\d(-\d\d)?$/.test(date) ? Math.floor((now - Date.parse(date)) / DAY) : undefined;
}

/** The date of data that is old, and how many days that is ago. */
export function old(status: Status, now: number): { date: string; days: number } | undefined {
  const date = status.data.sources[0]?.date;
  const age = date === undefined ? undefined : days(date, now);
  return date !== undefined && age !== undefined && age > OLD ? { date, days: age } : undefined;
}
