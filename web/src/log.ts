// Drops as the page lists and saves them.

import type { LogEntry } from "./api/client";

/** Drops that the page keeps, as many as an agent does. */
export const KEPT = 10_000;

/** Those that were told live, the newest first, and those before them, which the portal lists from the oldest. */
export function merged(live: readonly LogEntry[], before: readonly LogEntry[]): LogEntry[] {
  const known = new Set(live.map(key));
  return [...live, ...before.filter((entry) => !known.has(key(entry))).reverse()].slice(0, KEPT);
}

export function key(entry: LogEntry): string {
  return `${entry.time} ${entry.source} ${entry.source_port}`;
}

export function matching(entries: readonly LogEntry[], country: string, reason: string): LogEntry[] {
  return entries.filter(
    (entry) => (!country || entry.country === country) && (!reason || entry.reason === reason),
  );
}

export function foundIn(entries: readonly LogEntry[], field: "country" | "reason"): string[] {
  return [...new Set(entries.map((entry) => entry[field]))].sort();
}

const COLUMNS = [
  "time",
  "enforced",
  "country",
  "source",
  "source_port",
  "protocol",
  "port",
  "asn",
  "as_name",
  "reason",
  "packets",
  "method",
  "user_agent",
] as const;

/** As RFC 4180 has it. What a sender wrote must not become a formula of whoever opens it. */
export function csv(entries: readonly LogEntry[]): string {
  const field = (value: unknown) => {
    const text = String(value ?? "");
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const line = (values: readonly unknown[]) => `${values.map(field).join(",")}\r\n`;
  return line(COLUMNS) + entries.map((entry) => line(COLUMNS.map((name) => entry[name]))).join("");
}
