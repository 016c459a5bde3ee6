/** The filters of the history, as the address has them and as the service takes them. */
import { ErrorReason, GenerationOrder, GenerationState, type Generation, timestampFromDate } from "avatar-creator";
import { enumValue, enumWord } from "../../lib/enum-words.js";
import { toDate } from "../../lib/format.js";

export interface Filters {
  states: GenerationState[];
  reason: ErrorReason;
  projectId: string;
  /** First and last day in the time zone of the user, as `2026-11-28`. Empty: no limit. */
  from: string;
  to: string;
  order: GenerationOrder;
}

/** Reasons for which a generation can fail. */
export const reasons: readonly ErrorReason[] = [
  ErrorReason.PROVIDER_NSFW,
  ErrorReason.PROVIDER_CONTENT_REFUSED,
  ErrorReason.PROVIDER_TIMEOUT,
  ErrorReason.PROVIDER_OVERLOADED,
  ErrorReason.PROVIDER_UNAVAILABLE,
  ErrorReason.PROVIDER_REJECTED,
  ErrorReason.PROVIDER_BAD_ANSWER,
  ErrorReason.PROVIDER_GONE,
  ErrorReason.PROVIDER_CREDENTIALS,
  ErrorReason.PROVIDER_CREDIT,
  ErrorReason.REFERENCE_GONE,
  ErrorReason.NOT_REPRODUCIBLE,
  ErrorReason.OPTION_NOT_SUPPORTED,
  ErrorReason.STORAGE_UNAVAILABLE,
  ErrorReason.WORKER_LOST,
  ErrorReason.INTERNAL,
];

export const noFilters: Omit<Filters, "order"> = { states: [], reason: 0, projectId: "", from: "", to: "" };

const dayForm = /^\d{4}-\d\d-\d\d$/;

/** The beginning of a day in the time zone of the user. Undefined for a text that is no day. */
function beginning(day: string, plus = 0): Date | undefined {
  if (!dayForm.test(day)) return undefined;
  const [year, month, date] = day.split("-").map(Number) as [number, number, number];
  const time = new Date(year, month - 1, date + plus);
  return Number.isNaN(time.getTime()) ? undefined : time;
}

export function fromAddress(query: URLSearchParams): Filters {
  const day = (name: string): string => (beginning(query.get(name) ?? "") === undefined ? "" : query.get(name)!);
  return {
    states: query
      .getAll("state")
      .map((one) => enumValue(GenerationState, one))
      .filter((one) => one !== 0),
    reason: enumValue(ErrorReason, query.get("reason")),
    projectId: query.get("project") ?? "",
    from: day("from"),
    to: day("to"),
    order: query.get("sort") === "oldest" ? GenerationOrder.OLDEST_FIRST : GenerationOrder.NEWEST_FIRST,
  };
}

/** The parts of the address to change. Only named filters change. */
export function toAddress(changed: Partial<Filters>): Record<string, string | string[]> {
  const parts: Record<string, string | string[]> = {};
  if (changed.states !== undefined) parts["state"] = changed.states.map((one) => enumWord(GenerationState, one));
  if (changed.reason !== undefined) parts["reason"] = enumWord(ErrorReason, changed.reason);
  if (changed.projectId !== undefined) parts["project"] = changed.projectId;
  if (changed.from !== undefined) parts["from"] = changed.from;
  if (changed.to !== undefined) parts["to"] = changed.to;
  if (changed.order !== undefined) parts["sort"] = changed.order === GenerationOrder.OLDEST_FIRST ? "oldest" : "";
  return parts;
}

/** The filters as the request has them. */
export function toRequest({ states, reason, projectId, from, to, order }: Filters) {
  const begin = beginning(from);
  const end = beginning(to, 1);
  return {
    states,
    projectId,
    order,
    errorReasons: reason === 0 ? [] : [reason],
    ...(begin && { createTimeFrom: timestampFromDate(begin) }),
    ...(end && { createTimeTo: timestampFromDate(end) }),
  };
}

/** Whether the service would list a generation with these filters. */
export function fits(generation: Generation, { states, reason, projectId, from, to }: Filters): boolean {
  const created = toDate(generation.createTime)?.getTime() ?? 0;
  return (
    (states.length === 0 || states.includes(generation.state)) &&
    (reason === 0 || generation.error?.reason === reason) &&
    (projectId === "" || generation.projectId === projectId) &&
    created >= (beginning(from)?.getTime() ?? -Infinity) &&
    created < (beginning(to, 1)?.getTime() ?? Infinity)
  );
}

/** Number of filters that are set, except the order. */
export function countOf({ states, reason, projectId, from, to }: Filters): number {
  return states.length + [reason !== 0, projectId !== "", from !== "" || to !== ""].filter(Boolean).length;
}
