import { expect, test } from "vitest";
import { chosen, span, speech } from ".";

test("the language is the kept one, then the first that the browser wishes and there is", () => {
  expect(chosen("ro", ["en-US"])).toBe("ro");
  expect(chosen(null, ["de-AT", "ro-RO", "en"])).toBe("ro");
  expect(chosen("xx", ["de"])).toBe("en");
});

test("what is left is told in minutes and seconds, and beyond an hour in words", () => {
  expect(span(119, "en")).toBe("1:59");
  expect(span(5, "en")).toBe("0:05");
  expect(span(5_400, "en")).toBe("1 hr 30 min");
  expect(span(86_400, "en")).toBe("1 day");
});

test("times are written as the browser wishes its language", () => {
  const time = new Date(2026, 10, 22, 14, 5, 9);
  const told = (wished: string[]) => speech("en", () => undefined, wished).time(time);
  expect(told(["de", "en-GB"])).toBe("14:05:09");
  expect(told(["en-US"])).toMatch(/^2:05:09.PM$/);
});

test("Romanian counts as Romanians do", () => {
  const { words } = speech("ro", () => undefined);
  expect(words.status.allow(1)).toBe("Protejat: poate suna doar o țară");
  expect(words.status.allow(5)).toBe("Protejat: pot suna doar 5 țări");
  expect(words.status.block(25)).toBe("Protejat: sunt ținute afară 25 de țări");
  expect(words.status.block(101)).toBe("Protejat: sunt ținute afară 101 țări");
});
