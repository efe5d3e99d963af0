// The language of the page, and numbers, times and names of countries as it writes them.

import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { en, type Words } from "./en";
import { ro } from "./ro";

export const languages = { en, ro } as const;
export type Language = keyof typeof languages;

const KEPT = "language";

export interface Speech {
  language: Language;
  speak: (language: Language) => void;
  words: Words;
  number: (value: number) => string;
  share: (part: number, whole: number) => string;
  time: (at: string | Date) => string;
  moment: (at: string | Date) => string;
  /** A date, or a month: 2026-10. */
  edition: (date: string) => string;
  country: (code: string) => string;
  span: (seconds: number) => string;
}

const Context = createContext<Speech | undefined>(undefined);

export function useWords(): Speech {
  const speech = useContext(Context);
  if (!speech) throw new Error("no language was chosen");
  return speech;
}

export function chosen(kept: string | null, wished: readonly string[]): Language {
  const known = (name: string): name is Language => name in languages;
  const wish = wished.map((tag) => tag.split("-")[0] ?? "").find(known);
  return kept && known(kept) ? kept : (wish ?? "en");
}

/** How a language writes things. */
export function speech(language: Language, speak: Speech["speak"], wished: readonly string[] = []): Speech {
  // English is written in several ways; 14:05 and 2:05 PM are both.
  const tag = wished.find((tag) => tag.split("-")[0] === language) ?? language;
  const names = new Intl.DisplayNames([tag], { type: "region" });
  const numbers = new Intl.NumberFormat(tag);
  const shares = new Intl.NumberFormat(tag, { style: "percent", maximumFractionDigits: 1 });
  const times = new Intl.DateTimeFormat(tag, { timeStyle: "medium" });
  const moments = new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "short" });
  const month = new Intl.DateTimeFormat(tag, { month: "short", year: "numeric", timeZone: "UTC" });
  const day = new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeZone: "UTC" });
  return {
    language,
    speak,
    words: languages[language],
    number: (value) => numbers.format(value),
    share: (part, whole) => shares.format(whole === 0 ? 0 : part / whole),
    time: (at) => times.format(new Date(at)),
    moment: (at) => moments.format(new Date(at)),
    edition: (date) => {
      const writes = { 7: month, 10: day }[date.length];
      return writes && /^[\d-]+$/.test(date) ? writes.format(new Date(date)) : date;
    },
    country: (code) => (code === "ZZ" ? "?" : (names.of(code) ?? code)),
    span: (seconds) => span(seconds, language),
  };
}

/** `1:59` below an hour; beyond, the two largest units. */
export function span(seconds: number, language: string): string {
  if (seconds < 3600) {
    const minutes = Math.floor(seconds / 60);
    return `${minutes}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  }
  const unit = (value: number, unit: "day" | "hour" | "minute") =>
    new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short" }).format(value);
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3600) % 24, (seconds / 60) % 60].map(
    Math.floor,
  );
  const both = days
    ? [unit(days, "day"), hours && unit(hours, "hour")]
    : [unit(hours ?? 0, "hour"), minutes && unit(minutes, "minute")];
  return both.filter(Boolean).join(" ");
}

export function Spoken({ children }: { children: ReactNode }) {
  const [language, speak] = useState(() => chosen(localStorage.getItem(KEPT), navigator.languages));
  useEffect(() => {
    document.documentElement.lang = language;
    localStorage.setItem(KEPT, language);
  }, [language]);
  const value = useMemo(() => speech(language, speak, navigator.languages), [language]);
  return <Context value={value}>{children}</Context>;
}
