/** The filters of the avatars of a project, as the address has them and as the service takes them. */
import { AgeRange, AvatarOrder, Gender, SourceType, Style } from "avatar-creator";
import { enumValue, enumWord } from "../../lib/enum-words.js";
import { attributeLabel, attributeValueLabel, sourceLabel } from "../../lib/vocabulary.js";

export interface Filters {
  query: string;
  sources: SourceType[];
  gender: Gender;
  ageRange: AgeRange;
  style: Style;
  ethnicity: string;
  order: AvatarOrder;
}

export function fromAddress(query: URLSearchParams): Filters {
  return {
    query: query.get("q") ?? "",
    sources: query
      .getAll("source")
      .map((one) => enumValue(SourceType, one))
      .filter((one) => one !== 0),
    gender: enumValue(Gender, query.get("gender")),
    ageRange: enumValue(AgeRange, query.get("age")),
    style: enumValue(Style, query.get("style")),
    ethnicity: query.get("ethnicity") ?? "",
    order: query.get("sort") === "last-used" ? AvatarOrder.LAST_USED_FIRST : AvatarOrder.NEWEST_FIRST,
  };
}

/** The parts of the address to change. Only named filters change. */
export function toAddress(changed: Partial<Filters>): Record<string, string | string[]> {
  const parts: Record<string, string | string[]> = {};
  if (changed.query !== undefined) parts["q"] = changed.query.trim();
  if (changed.sources !== undefined) parts["source"] = changed.sources.map((one) => enumWord(SourceType, one));
  if (changed.gender !== undefined) parts["gender"] = enumWord(Gender, changed.gender);
  if (changed.ageRange !== undefined) parts["age"] = enumWord(AgeRange, changed.ageRange);
  if (changed.style !== undefined) parts["style"] = enumWord(Style, changed.style);
  if (changed.ethnicity !== undefined) parts["ethnicity"] = changed.ethnicity.trim();
  if (changed.order !== undefined) parts["sort"] = changed.order === AvatarOrder.LAST_USED_FIRST ? "last-used" : "";
  return parts;
}

export const noFilters: Omit<Filters, "order"> = {
  query: "",
  sources: [],
  gender: 0,
  ageRange: 0,
  style: 0,
  ethnicity: "",
};

/** The filters that are set, except the search words: a label, and the change that takes each away. */
export function active(filters: Filters): { key: string; label: string; without: Partial<Filters> }[] {
  const found = filters.sources.map((source) => ({
    key: `source ${source}`,
    label: sourceLabel(source),
    without: { sources: filters.sources.filter((one) => one !== source) } as Partial<Filters>,
  }));
  for (const name of ["gender", "ageRange", "style"] as const)
    if (filters[name] !== 0)
      found.push({
        key: name,
        label: `${attributeLabel(name)}: ${attributeValueLabel(name, filters[name])}`,
        without: { [name]: 0 },
      });
  if (filters.ethnicity !== "")
    found.push({
      key: "ethnicity",
      label: `${attributeLabel("ethnicity")}: ${filters.ethnicity}`,
      without: { ethnicity: "" },
    });
  return found;
}
