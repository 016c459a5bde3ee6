/** What the user has spent, by day and app, and the statistics that come with it. */
import type { DailySpend, GetStatsResponse } from "avatar-creator";
import { api } from "../../lib/api.js";

/** Days that the service remembers, the current one included. */
export const remembered = 30;
/** Apps with a color of their own in a chart. The others share the last color. */
export const colored = 4;

export interface Spending {
  stats: GetStatsResponse;
  entries: readonly DailySpend[];
}

export async function readSpending(signal: AbortSignal): Promise<Spending> {
  const stats = await api.usage.getStats({}, { signal });
  const entries = [...stats.spending];
  for (let pageToken = stats.nextPageToken; pageToken !== "";) {
    const page = await api.usage.getStats({ pageToken }, { signal });
    entries.push(...page.spending);
    pageToken = page.nextPageToken;
  }
  return { stats, entries };
}

/** One app's share of a day or of a period. */
export interface Share {
  appId: string;
  micros: bigint;
  attempts: bigint;
}

export interface Day {
  /** Start of the UTC day. */
  date: Date;
  micros: bigint;
  attempts: bigint;
  /** One entry for each app that cost something, in the order of the apps. */
  shares: Share[];
}

export interface Period {
  days: Day[];
  /** Sums by app, highest first. */
  apps: Share[];
  micros: bigint;
  attempts: bigint;
}

function sum(shares: readonly Share[]): { micros: bigint; attempts: bigint } {
  return shares.reduce(
    ({ micros, attempts }, share) => ({ micros: micros + share.micros, attempts: attempts + share.attempts }),
    { micros: 0n, attempts: 0n },
  );
}

/** Sum the spending of the last days, today included. */
export function periodOf(entries: readonly DailySpend[], length: number, now = new Date()): Period {
  const today = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate());
  const days = Array.from({ length }, (_, index): Day => ({
    date: new Date(today - (length - 1 - index) * 86_400_000),
    micros: 0n,
    attempts: 0n,
    shares: [],
  }));
  const byTime = new Map(days.map((day) => [day.date.getTime(), day]));
  const apps = new Map<string, Share>();
  for (const { day, appId, priceMicros, attemptCount } of entries) {
    const found = day && byTime.get(Date.UTC(day.year, day.month - 1, day.day));
    if (!found) continue;
    found.shares.push({ appId, micros: priceMicros, attempts: attemptCount });
    const { micros, attempts } = apps.get(appId) ?? { micros: 0n, attempts: 0n };
    apps.set(appId, { appId, micros: micros + priceMicros, attempts: attempts + attemptCount });
  }
  const sorted = [...apps.values()].sort((one, other) =>
    one.micros === other.micros ? (one.appId < other.appId ? -1 : 1) : one.micros < other.micros ? 1 : -1,
  );
  const order = new Map(sorted.map(({ appId }, index) => [appId, index]));
  for (const day of days) {
    day.shares.sort((one, other) => order.get(one.appId)! - order.get(other.appId)!);
    Object.assign(day, sum(day.shares));
  }
  return { days, apps: sorted, ...sum(sorted) };
}

/** Round amounts for the lines of a chart: from zero to at least `highest`, in three to five steps. */
export function scaleOf(highest: bigint): bigint[] {
  if (highest <= 0n) return [0n];
  const rough = highest / 4n || 1n;
  const power = 10n ** BigInt(String(rough).length - 1);
  const step = [1n, 2n, 5n, 10n].map((factor) => factor * power).find((one) => one >= rough)!;
  const lines = [0n];
  while (lines.at(-1)! < highest) lines.push(lines.at(-1)! + step);
  return lines;
}
