/** The limits of a user. Only operators may read them, so only their browsers load this. */
import { type Operations, OperationsService, type UserLimits } from "avatar-creator";
import { calls } from "../../lib/api.js";

const operations = calls<Operations>(OperationsService);

export async function readLimits(userId: string, signal: AbortSignal): Promise<UserLimits | undefined> {
  const { limits } = await operations.getUserLimits({ userId }, { signal });
  return limits;
}
