import { expect, test } from "vitest";
import { days, OLD, old } from "./age";
import type { Status } from "./api/client";

const at = (text: string) => Date.parse(text);
const of = (date: string) => ({ data: { sources: [{ date }] } }) as unknown as Status;

test("a month counts from its first day", () => {
  expect(days("2026-10", at("2026-10-31T12:00:00Z"))).toBe(30);
  expect(days("2026-10-20", at("2026-10-31T12:00:00Z"))).toBe(11);
  expect(days("1.4.175", 0)).toBeUndefined();
});

test("data is old after so many days, and not on the last of them", () => {
  const last = at("2026-10-01") + OLD * 86_400_000;
  expect(old(of("2026-10"), last + 86_399_999)).toBeUndefined();
  expect(old(of("2026-10"), last + 86_400_000)).toEqual({ date: "2026-10", days: OLD + 1 });
  expect(old(of("no date"), last)).toBeUndefined();
});
