/** A person as forms edit it: attributes and a persona, in which every field has a value. */
import type { Attributes, Persona } from "avatar-creator";
import { type AttributeName, attributeNames } from "../lib/vocabulary.js";

export type AttributesDraft = Record<AttributeName, number> & { ethnicity: string };

export interface PersonaDraft {
  name: string;
  /** As typed. Empty: not specified. */
  age: string;
  personality: string[];
  background: string;
}

/** Copy attributes into a form. */
export function editAttributes(attributes?: Attributes): AttributesDraft {
  const values = Object.fromEntries(attributeNames.map((name) => [name, Number(attributes?.[name] ?? 0)]));
  return { ...(values as Record<AttributeName, number>), ethnicity: attributes?.ethnicity ?? "" };
}

/** Copy a persona into a form. */
export function editPersona(persona?: Persona): PersonaDraft {
  return {
    name: persona?.name ?? "",
    age: persona === undefined || persona.age === 0 ? "" : String(persona.age),
    personality: [...(persona?.personality ?? [])],
    background: persona?.background ?? "",
  };
}

/** The attributes of a form, for a request. */
export function attributesOf(draft: AttributesDraft): AttributesDraft {
  return { ...draft, ethnicity: draft.ethnicity.trim() };
}

/** Read a whole number of at most 32 bits. Undefined: the text is none. Empty text counts as 0. */
export function wholeNumber(text: string, most = 0x7fffffff): number | undefined {
  const value = Number(text.trim());
  return /^\d*$/.test(text.trim()) && value <= most ? value : undefined;
}

/** The persona of a form, for a request. An age that is no number is left out. */
export function personaOf(draft: PersonaDraft): {
  name: string;
  age: number;
  personality: string[];
  background: string;
} {
  return {
    name: draft.name.trim(),
    age: wholeNumber(draft.age) ?? 0,
    personality: [...draft.personality],
    background: draft.background.trim(),
  };
}

/** Names of the fields that have a value, as paths of the contract: `persona.age`, `attributes.hair_color`. */
export function filledFields(persona: PersonaDraft, attributes: AttributesDraft): string[] {
  const paths: string[] = [];
  for (const [name, value] of Object.entries(persona)) if (value.length > 0) paths.push(`persona.${name}`);
  for (const [name, value] of Object.entries(attributes))
    if (value !== 0 && value !== "") paths.push(`attributes.${snake(name)}`);
  return paths;
}

/** Name of a field as the contract spells it: `hairColor` becomes `hair_color`. */
export function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
