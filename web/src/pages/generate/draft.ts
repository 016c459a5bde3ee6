/** What the user has entered to generate a portrait, and the request that comes of it. */
import { type AvatarPreset, GenerationPriority, type PersonaExample } from "avatar-creator";
import { words } from "../../lib/language.svelte.js";
import {
  type AttributesDraft,
  attributesOf,
  editAttributes,
  editPersona,
  filledFields,
  type PersonaDraft,
  personaOf,
  wholeNumber,
} from "../../parts/person.js";

/** A preset or persona example that the draft began with. */
interface Beginning {
  id: string;
  /** Paths of the fields that it has. The service fills them in where a request leaves them empty. */
  fields: string[];
}

export interface Draft {
  prompt: string;
  avatarName: string;
  attributes: AttributesDraft;
  persona: PersonaDraft;
  preset?: Beginning | undefined;
  example?: Beginning | undefined;
  /** Ids of avatars. */
  references: string[];
  strength: number;
  variations: number;
  /** Numbers are texts, as typed. Empty: the service's or the model's own. */
  width: string;
  height: string;
  seed: string;
  steps: string;
  guidance: string;
  negativePrompt: string;
  priority: GenerationPriority;
  strict: boolean;
  omitRecipe: boolean;
}

const t = words({
  en: { whole: "Enter a whole number.", decimal: "Enter a number." },
  id: { whole: "Masukkan bilangan bulat.", decimal: "Masukkan angka." },
});

export function blank(): Draft {
  return {
    prompt: "",
    avatarName: "",
    attributes: editAttributes(),
    persona: editPersona(),
    references: [],
    strength: 0.6,
    variations: 1,
    width: "1024",
    height: "1024",
    seed: "",
    steps: "",
    guidance: "",
    negativePrompt: "",
    priority: GenerationPriority.INTERACTIVE,
    strict: false,
    omitRecipe: false,
  };
}

/** Begin with a preset: its prompt, persona and attributes take the place of the draft's. */
export function beginWithPreset(draft: Draft, preset: AvatarPreset): void {
  draft.prompt = preset.prompt;
  draft.persona = editPersona(preset.persona);
  draft.attributes = editAttributes(preset.attributes);
  draft.preset = { id: preset.id, fields: ["prompt", ...filledFields(draft.persona, draft.attributes)] };
  draft.example = undefined;
}

/** Begin with a persona example: it takes the place of the draft's persona. */
export function beginWithExample(draft: Draft, example: PersonaExample): void {
  draft.persona = editPersona(example.persona);
  draft.example = { id: example.id, fields: filledFields(draft.persona, editAttributes()) };
}

/** Whether the user has entered something that a preset would take the place of. */
export function hasContents(draft: Draft): boolean {
  return draft.prompt.trim() !== "" || filledFields(draft.persona, draft.attributes).length > 0;
}

/**
 * Id of the preset or example, as long as everything that it has is filled. Otherwise the service would fill in again
 * what the user has taken out.
 */
function idOf(beginning: Beginning | undefined, draft: Draft): string {
  if (beginning === undefined) return "";
  const filled = new Set(filledFields(draft.persona, draft.attributes));
  if (draft.prompt.trim() !== "") filled.add("prompt");
  return beginning.fields.every((field) => filled.has(field)) ? beginning.id : "";
}

/** The request of a draft. */
export function requestOf(draft: Draft, projectId: string) {
  const seed = wholeNumber(draft.seed, 0xffffffff);
  return {
    projectId,
    prompt: draft.prompt.trim(),
    avatarName: draft.avatarName.trim(),
    persona: personaOf(draft.persona),
    attributes: attributesOf(draft.attributes),
    presetId: idOf(draft.preset, draft),
    personaExampleId: idOf(draft.example, draft),
    referenceAvatarIds: [...draft.references],
    variationCount: draft.variations,
    priority: draft.priority,
    options: {
      width: wholeNumber(draft.width) ?? 0,
      height: wholeNumber(draft.height) ?? 0,
      ...(draft.seed.trim() !== "" && seed !== undefined && { seed }),
      steps: wholeNumber(draft.steps) ?? 0,
      guidanceScale: decimalNumber(draft.guidance) ?? 0,
      negativePrompt: draft.negativePrompt.trim(),
      referenceStrength: draft.references.length > 0 ? draft.strength : 0,
      strict: draft.strict,
      omitRecipe: draft.omitRecipe,
    },
  };
}

/** What is wrong with a draft that no request can show, by the contract's paths. */
export function problemsOf(draft: Draft): Record<string, string> {
  const problems: Record<string, string> = {};
  for (const name of ["width", "height", "steps"] as const)
    if (wholeNumber(draft[name]) === undefined) problems[`options.${name}`] = t.whole;
  if (wholeNumber(draft.seed, 0xffffffff) === undefined) problems["options.seed"] = t.whole;
  if (decimalNumber(draft.guidance) === undefined) problems["options.guidance_scale"] = t.decimal;
  if (wholeNumber(draft.persona.age) === undefined) problems["persona.age"] = t.whole;
  return problems;
}

function decimalNumber(text: string): number | undefined {
  const value = Number(text.trim().replace(",", "."));
  return Number.isFinite(value) ? value : undefined;
}

function place(user: string, projectId: string): string {
  return `avatar-creator:draft:${user}:${projectId}`;
}

/** Drafts outlive a reload of the tab and an expired token. */
export const drafts = {
  read(user: string, projectId: string): Draft {
    try {
      const kept: unknown = JSON.parse(sessionStorage.getItem(place(user, projectId)) ?? "null");
      return typeof kept === "object" && kept !== null ? { ...blank(), ...kept } : blank();
    } catch {
      return blank();
    }
  },
  keep(user: string, projectId: string, draft: Draft): void {
    try {
      sessionStorage.setItem(place(user, projectId), JSON.stringify(draft));
    } catch {
      // The storage is full or forbidden: the draft lives as long as the page.
    }
  },
  drop(user: string, projectId: string): void {
    sessionStorage.removeItem(place(user, projectId));
  },
};
