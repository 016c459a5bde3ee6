/** Numbers, money, dates and durations, in the language of the page. Each result follows a change of the language. */
import type { Timestamp } from "./api.js";
import { language } from "./language.svelte.js";

const made = new Map<
  string,
  Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat | Intl.PluralRules | Intl.ListFormat
>();

/** Making an `Intl` object takes about 0.1 ms, and a list of avatars needs hundreds. */
function kept<T extends Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat | Intl.ListFormat>(
  name: string,
  make: (locale: string) => T,
): T {
  const key = `${name} ${language.current}`;
  let format = made.get(key) as T | undefined;
  if (format === undefined) {
    format = make(language.current === "id" ? "id-ID" : "en-US");
    made.set(key, format);
  }
  return format;
}

/** Convert a timestamp of the contract. Returns undefined for an absent one. */
export function toDate(time: Timestamp | Date | undefined): Date | undefined {
  if (time === undefined || time instanceof Date) return time;
  return new Date(Number(time.seconds) * 1000 + time.nanos / 1e6);
}

export function number(value: number | bigint): string {
  return kept("number", (locale) => new Intl.NumberFormat(locale)).format(value);
}

/** A number with at most one decimal. */
export function decimal(value: number): string {
  return kept("decimal", (locale) => new Intl.NumberFormat(locale, { maximumFractionDigits: 1 })).format(value);
}

/** A short form of a large number: 12K. */
export function compact(value: number | bigint): string {
  return kept("compact", (locale) => new Intl.NumberFormat(locale, { notation: "compact" })).format(value);
}

/** `value` from 0 to 100. */
export function percent(value: number): string {
  return kept("percent", (locale) => new Intl.NumberFormat(locale, { style: "percent" })).format(value / 100);
}

/** An amount of money as a decimal number of dollars. A binary fraction would be another amount. */
function dollars(micros: bigint): `${number}` {
  const size = String(micros < 0n ? -micros : micros).padStart(7, "0");
  return `${micros < 0n ? "-" : ""}${size.slice(0, -6)}.${size.slice(-6)}` as `${number}`;
}

/** Format a price in millionths of a US dollar. It has as many decimals as a small price needs. */
export function money(micros: bigint): string {
  const fine = micros !== 0n && micros < 100_000n && micros > -100_000n;
  return kept(
    fine ? "money-fine" : "money",
    (locale) =>
      new Intl.NumberFormat(locale, { style: "currency", currency: "USD", maximumFractionDigits: fine ? 4 : 2 }),
  ).format(dollars(micros));
}

/** Format a price in millionths of a US dollar with all its decimals. */
export function exactMoney(micros: bigint): string {
  return kept(
    "money-exact",
    (locale) => new Intl.NumberFormat(locale, { style: "currency", currency: "USD", maximumFractionDigits: 6 }),
  ).format(dollars(micros));
}

/** Format a number of bytes: 2.4 MB. */
export function bytes(value: number | bigint): string {
  const size = Number(value);
  const [unit, divisor] = size >= 1e6 ? (["megabyte", 1e6] as const) : (["kilobyte", 1e3] as const);
  return kept(
    unit,
    (locale) => new Intl.NumberFormat(locale, { style: "unit", unit, maximumFractionDigits: 1 }),
  ).format(size / divisor);
}

/** Format a duration in seconds: "45 sec", "3 min", "2 hr". */
export function duration(seconds: number): string {
  const [unit, divisor] =
    seconds < 90 ? (["second", 1] as const) : seconds < 5400 ? (["minute", 60] as const) : (["hour", 3600] as const);
  return kept(
    unit,
    (locale) => new Intl.NumberFormat(locale, { style: "unit", unit, maximumFractionDigits: 0 }),
  ).format(Math.max(1, Math.round(seconds / divisor)));
}

/** Format the day of a time: Nov 28, 2026. */
export function day(time: Timestamp | Date | undefined): string {
  const date = toDate(time);
  if (date === undefined) return "";
  return kept("day", (locale) => new Intl.DateTimeFormat(locale, { dateStyle: "medium" })).format(date);
}

/** Format a UTC day, also briefly: "Sat, Nov 28" or "Nov 28". */
export function utcDay(date: Date, brief = false): string {
  return kept(
    brief ? "utc-day-brief" : "utc-day",
    (locale) =>
      new Intl.DateTimeFormat(locale, {
        timeZone: "UTC",
        month: "short",
        day: "numeric",
        ...(!brief && { weekday: "short" }),
      }),
  ).format(date);
}

/** Format a time with its day: Nov 28, 2026, 2:05 PM. */
export function moment(time: Timestamp | Date | undefined): string {
  const date = toDate(time);
  if (date === undefined) return "";
  return kept(
    "moment",
    (locale) => new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }),
  ).format(date);
}

/** Format the distance of a time from `now`: "3 minutes ago", "yesterday". After 30 days, its day. */
export function ago(time: Timestamp | Date | undefined, now: Date = new Date()): string {
  const date = toDate(time);
  if (date === undefined) return "";
  const seconds = (date.getTime() - now.getTime()) / 1000;
  const size = Math.abs(seconds);
  if (size >= 30 * 86400) return day(date);
  const [unit, divisor] =
    size < 45
      ? (["second", 1] as const)
      : size < 2700
        ? (["minute", 60] as const)
        : size < 72000
          ? (["hour", 3600] as const)
          : (["day", 86400] as const);
  // "now" instead of "3 seconds ago": no reader counts them.
  const distance = unit === "second" ? 0 : Math.round(seconds / divisor);
  return kept("ago", (locale) => new Intl.RelativeTimeFormat(locale, { numeric: "auto" })).format(distance, unit);
}

/** Join words: "a, b and c". */
export function list(entries: readonly string[]): string {
  return kept("list", (locale) => new Intl.ListFormat(locale, { type: "conjunction" })).format(entries);
}
