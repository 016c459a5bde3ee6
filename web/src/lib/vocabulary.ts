/** The words of the contract's enums, in both languages, for chips, filters and labels. */
import {
  AgeRange,
  type Attributes,
  BodyType,
  EyeColor,
  Gender,
  GenerationPriority,
  GenerationStage,
  GenerationState,
  HairColor,
  HairStyle,
  Headwear,
  SkinTone,
  SourceType,
  Style,
} from "avatar-creator";
import { language } from "./language.svelte.js";

/** A value of an enum and its label. */
export interface Choice {
  value: number;
  label: string;
}

/** Names of the attributes that are enums. `ethnicity`, the other one, is the user's own words. */
export type AttributeName =
  "gender" | "ageRange" | "bodyType" | "hairStyle" | "hairColor" | "eyeColor" | "skinTone" | "style" | "headwear";

type Labels = readonly (readonly [value: number, en: string, id: string])[];

const attributes: Record<AttributeName, { en: string; id: string; values: Labels }> = {
  gender: {
    en: "Gender",
    id: "Gender",
    values: [
      [Gender.FEMALE, "Female", "Perempuan"],
      [Gender.MALE, "Male", "Laki-laki"],
      [Gender.NON_BINARY, "Non-binary", "Nonbiner"],
    ],
  },
  ageRange: {
    en: "Age",
    id: "Usia",
    values: [
      [AgeRange.CHILD, "Child", "Anak"],
      [AgeRange.TEENAGER, "Teenager", "Remaja"],
      [AgeRange.YOUNG_ADULT, "18–29", "18–29"],
      [AgeRange.MIDDLE_AGED, "30–50", "30–50"],
      [AgeRange.MATURE, "51–65", "51–65"],
      [AgeRange.SENIOR, "Over 65", "Di atas 65"],
    ],
  },
  bodyType: {
    en: "Build",
    id: "Postur",
    values: [
      [BodyType.SLIM, "Slim", "Ramping"],
      [BodyType.AVERAGE, "Average", "Sedang"],
      [BodyType.ATHLETIC, "Athletic", "Atletis"],
      [BodyType.MUSCULAR, "Muscular", "Berotot"],
      [BodyType.CURVY, "Curvy", "Berlekuk"],
      [BodyType.PLUS_SIZE, "Plus-size", "Besar"],
    ],
  },
  hairStyle: {
    en: "Hair",
    id: "Rambut",
    values: [
      [HairStyle.BALD, "Bald", "Botak"],
      [HairStyle.BUZZ_CUT, "Buzz cut", "Cepak"],
      [HairStyle.SHORT, "Short", "Pendek"],
      [HairStyle.SHOULDER_LENGTH, "Shoulder-length", "Sebahu"],
      [HairStyle.LONG, "Long", "Panjang"],
      [HairStyle.WAVY, "Wavy", "Bergelombang"],
      [HairStyle.CURLY, "Curly", "Keriting"],
      [HairStyle.AFRO, "Afro", "Afro"],
      [HairStyle.BRAIDED, "Braided", "Kepang"],
      [HairStyle.BUN, "Bun", "Sanggul"],
      [HairStyle.PONYTAIL, "Ponytail", "Ekor kuda"],
    ],
  },
  hairColor: {
    en: "Hair color",
    id: "Warna rambut",
    values: [
      [HairColor.BLACK, "Black", "Hitam"],
      [HairColor.DARK_BROWN, "Dark brown", "Cokelat tua"],
      [HairColor.BROWN, "Brown", "Cokelat"],
      [HairColor.BLONDE, "Blonde", "Pirang"],
      [HairColor.RED, "Red", "Merah"],
      [HairColor.GRAY, "Gray", "Abu-abu"],
      [HairColor.WHITE, "White", "Putih"],
    ],
  },
  eyeColor: {
    en: "Eyes",
    id: "Mata",
    values: [
      [EyeColor.BROWN, "Brown", "Cokelat"],
      [EyeColor.DARK_BROWN, "Dark brown", "Cokelat tua"],
      [EyeColor.HAZEL, "Hazel", "Hazel"],
      [EyeColor.AMBER, "Amber", "Kuning sawo"],
      [EyeColor.GREEN, "Green", "Hijau"],
      [EyeColor.BLUE, "Blue", "Biru"],
      [EyeColor.GRAY, "Gray", "Abu-abu"],
    ],
  },
  skinTone: {
    en: "Skin tone",
    id: "Warna kulit",
    values: [
      [SkinTone.VERY_LIGHT, "Very light", "Sangat terang"],
      [SkinTone.LIGHT, "Light", "Terang"],
      [SkinTone.MEDIUM, "Medium", "Sedang"],
      [SkinTone.OLIVE, "Olive", "Zaitun"],
      [SkinTone.TAN, "Tan", "Sawo matang"],
      [SkinTone.BROWN, "Brown", "Cokelat"],
      [SkinTone.DARK, "Dark", "Gelap"],
    ],
  },
  style: {
    en: "Clothing",
    id: "Busana",
    values: [
      [Style.PROFESSIONAL, "Professional", "Profesional"],
      [Style.CASUAL, "Casual", "Santai"],
      [Style.FORMAL, "Formal", "Formal"],
      [Style.TRADITIONAL, "Traditional", "Tradisional"],
      [Style.SPORTY, "Sporty", "Sporty"],
      [Style.CREATIVE, "Creative", "Kreatif"],
      [Style.ELEGANT, "Elegant", "Anggun"],
      [Style.STREETWEAR, "Streetwear", "Streetwear"],
    ],
  },
  headwear: {
    en: "Headwear",
    id: "Penutup kepala",
    values: [
      [Headwear.HIJAB, "Hijab", "Hijab"],
      [Headwear.HEADSCARF, "Headscarf", "Kerudung"],
      [Headwear.PECI, "Peci", "Peci"],
      [Headwear.TURBAN, "Turban", "Serban"],
      [Headwear.KIPPAH, "Kippah", "Kipa"],
      [Headwear.CAP, "Cap", "Topi"],
      [Headwear.BEANIE, "Beanie", "Kupluk"],
      [Headwear.FEDORA, "Fedora", "Fedora"],
      [Headwear.SUN_HAT, "Sun hat", "Topi pantai"],
    ],
  },
};

const sources: Labels = [
  [SourceType.UPLOADED, "Uploaded", "Diunggah"],
  [SourceType.TEXT_TO_IMAGE, "From a prompt", "Dari perintah"],
  [SourceType.FROM_PRESET, "From a preset", "Dari preset"],
  [SourceType.FROM_REFERENCE, "From a reference", "Dari rujukan"],
];

const states: Labels = [
  [GenerationState.PENDING, "Waiting", "Menunggu"],
  [GenerationState.PROCESSING, "Running", "Berjalan"],
  [GenerationState.COMPLETED, "Completed", "Selesai"],
  [GenerationState.FAILED, "Failed", "Gagal"],
  [GenerationState.CANCELLED, "Cancelled", "Dibatalkan"],
];

const stages: Labels = [
  [GenerationStage.QUEUED, "In the queue", "Dalam antrean"],
  [GenerationStage.CLAIMED, "Starting", "Memulai"],
  [GenerationStage.DRAWING, "Drawing", "Menggambar"],
  [GenerationStage.SAVING, "Saving", "Menyimpan"],
  [GenerationStage.FINISHING, "Finishing", "Menyelesaikan"],
  [GenerationStage.ENDED, "Ended", "Berakhir"],
  [GenerationStage.WAITING_TO_RETRY, "Waiting to try again", "Menunggu untuk mencoba lagi"],
];

const priorities: Labels = [
  [GenerationPriority.INTERACTIVE, "Interactive", "Interaktif"],
  [GenerationPriority.NORMAL, "Normal", "Normal"],
  [GenerationPriority.BULK, "Bulk", "Massal"],
];

function choices(labels: Labels): Choice[] {
  return labels.map(([value, en, id]) => ({ value, label: language.current === "id" ? id : en }));
}

function label(labels: Labels, value: number): string {
  const found = labels.find(([one]) => one === value);
  if (found === undefined) return "";
  return language.current === "id" ? found[2] : found[1];
}

export const attributeNames = Object.keys(attributes) as AttributeName[];

/** Name of an attribute, "Hair color". */
export function attributeLabel(name: AttributeName | "ethnicity"): string {
  if (name === "ethnicity") return language.current === "id" ? "Etnis" : "Ethnicity";
  return attributes[name][language.current];
}

/** All values of an attribute, without UNSPECIFIED. */
export function attributeChoices(name: AttributeName): Choice[] {
  return choices(attributes[name].values);
}

/** Label of a value of an attribute; empty for UNSPECIFIED. */
export function attributeValueLabel(name: AttributeName, value: number): string {
  return label(attributes[name].values, value);
}

/** The attributes that are set, with the labels of their names and values. */
export function describe(of: Attributes | undefined): { name: string; value: string }[] {
  if (of === undefined) return [];
  const found = attributeNames.map((name) => ({
    name: attributeLabel(name),
    value: attributeValueLabel(name, of[name]),
  }));
  found.splice(2, 0, { name: attributeLabel("ethnicity"), value: of.ethnicity });
  return found.filter(({ value }) => value !== "");
}

export const sourceChoices = (): Choice[] => choices(sources);
export const sourceLabel = (value: SourceType): string => label(sources, value);
export const stateChoices = (): Choice[] => choices(states);
export const stateLabel = (value: GenerationState): string => label(states, value);
export const stageLabel = (value: GenerationStage): string => label(stages, value);
export const priorityChoices = (): Choice[] => choices(priorities);
export const priorityLabel = (value: GenerationPriority): string => label(priorities, value);
