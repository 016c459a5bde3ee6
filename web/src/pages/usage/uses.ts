/** The uses of the avatars that were used last, summed by app. The service sums them for one avatar at a time. */
import { type Avatar, AvatarOrder, type AppUsageSummary } from "avatar-creator";
import { api, type Timestamp } from "../../lib/api.js";
import { toDate } from "../../lib/format.js";

/** Avatars whose uses are summed. Each is a call. */
const most = 20;
const atOnce = 4;

export interface AppUses {
  appId: string;
  name: string;
  count: bigint;
  last: Timestamp | undefined;
}

export interface Uses {
  avatars: readonly Avatar[];
  /** Whether other avatars have been used, too. */
  more: boolean;
  apps: readonly AppUses[];
}

export async function readUses(signal: AbortSignal): Promise<Uses> {
  const page = await api.avatars.listAvatars(
    { order: AvatarOrder.LAST_USED_FIRST, pageSize: most, includeLinks: true },
    { signal },
  );
  const avatars = page.avatars.filter(({ usageCount }) => usageCount > 0n);
  const apps = new Map<string, AppUses>();
  const left = avatars.map(({ id }) => id);
  const work = async (): Promise<void> => {
    for (let avatarId = left.shift(); avatarId !== undefined; avatarId = left.shift()) {
      let pageToken = "";
      do {
        const sums = await api.usage.summarizeUsage({ avatarId, pageToken }, { signal });
        for (const one of sums.apps) add(apps, one);
        pageToken = sums.nextPageToken;
      } while (pageToken !== "");
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  const sorted = [...apps.values()].sort((one, other) =>
    one.count === other.count ? (one.name < other.name ? -1 : 1) : one.count < other.count ? 1 : -1,
  );
  return { avatars, more: avatars.length === most && page.nextPageToken !== "", apps: sorted };
}

const timeOf = (time: Timestamp | undefined): number => toDate(time)?.getTime() ?? 0;

function add(apps: Map<string, AppUses>, { appId, appName, usageCount, lastUsedTime }: AppUsageSummary): void {
  const known = apps.get(appId);
  const later = known === undefined || timeOf(lastUsedTime) > timeOf(known.last);
  apps.set(appId, {
    appId,
    // The name that was given last.
    name: later ? appName : known.name,
    count: (known?.count ?? 0n) + usageCount,
    last: later ? lastUsedTime : known.last,
  });
}
