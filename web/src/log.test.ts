import { expect, test } from "vitest";
import type { LogEntry } from "./api/client";
import { csv, KEPT, matching, merged } from "./log";

const drop = (time: string, more: Partial<LogEntry> = {}) =>
  ({ time, source: "192.0.2.1", source_port: 5060, country: "CN", reason: "country", ...more }) as LogEntry;

test("a drop is listed once, the newest first", () => {
  const all = merged([drop("4"), drop("3")], [drop("1"), drop("2"), drop("3")]);
  expect(all.map((entry) => entry.time)).toEqual(["4", "3", "2", "1"]);
});

test("of drops no more are kept than an agent keeps, the newest", () => {
  const before = Array.from({ length: KEPT }, (_, at) => drop(`${at}`));
  const all = merged([drop("new")], before);
  expect([all.length, all[0]?.time, all[KEPT - 1]?.time]).toEqual([KEPT, "new", "1"]);
});

test("drops are filtered by country and reason", () => {
  const all = [drop("1"), drop("2", { country: "US" }), drop("3", { reason: "ban" })];
  expect(matching(all, "CN", "").length).toBe(2);
  expect(matching(all, "CN", "ban").map((entry) => entry.time)).toEqual(["3"]);
  expect(matching(all, "", "").length).toBe(3);
});

test("what a sender wrote is text in a table, whatever it looks like", () => {
  const [, line] = csv([drop("1", { user_agent: '=cmd|"x",1\r\n', as_name: "+1" })]).split(
    /(?<=,)(?=1,)|\r\n(?=1,)/,
  );
  expect(line).toContain("'+1");
  expect(csv([drop("1", { user_agent: '=a"b' })])).toContain('"\'=a""b"');
});
