/** What of an avatar can be changed, and how it is shown. */
import type { Avatar } from "avatar-creator";
import { list, number } from "../../lib/format.js";
import { words } from "../../lib/language.svelte.js";
import { attributeLabel, attributeNames, attributeValueLabel } from "../../lib/vocabulary.js";
import { type AttributesDraft, attributesOf, editAttributes, editPersona, personaOf } from "../../parts/person.js";

/** New values of an avatar. Those that are absent stay. */
export interface Values {
  name?: string;
  persona?: ReturnType<typeof personaOf>;
  attributes?: AttributesDraft;
}

export interface Fact {
  label: string;
  /** Empty: not set. */
  value: string;
}

const t = words({
  en: { name: "Name", personaName: "Persona name", age: "Age", personality: "Personality", background: "Background" },
  id: {
    name: "Nama",
    personaName: "Nama persona",
    age: "Umur",
    personality: "Kepribadian",
    background: "Latar belakang",
  },
});

export function personaFacts(persona: ReturnType<typeof personaOf>): Fact[] {
  return [
    { label: t.personaName, value: persona.name },
    { label: t.age, value: persona.age === 0 ? "" : number(persona.age) },
    { label: t.personality, value: list(persona.personality) },
    { label: t.background, value: persona.background },
  ];
}

export function attributeFacts(attributes: AttributesDraft): Fact[] {
  const facts = attributeNames.map((name) => ({
    label: attributeLabel(name),
    value: attributeValueLabel(name, attributes[name]),
  }));
  facts.splice(2, 0, { label: attributeLabel("ethnicity"), value: attributes.ethnicity });
  return facts;
}

/** Every value as a label and a text, also those that are not set. */
export function factsOf(values: Values): Fact[] {
  return [
    ...(values.name === undefined ? [] : [{ label: t.name, value: values.name }]),
    ...(values.persona === undefined ? [] : personaFacts(values.persona)),
    ...(values.attributes === undefined ? [] : attributeFacts(values.attributes)),
  ];
}

/** The values that an avatar has now for the fields that `changed` has. */
export function valuesOf(avatar: Avatar, changed: Values): Values {
  return {
    ...(changed.name !== undefined && { name: avatar.name }),
    ...(changed.persona !== undefined && { persona: personaOf(editPersona(avatar.persona)) }),
    ...(changed.attributes !== undefined && { attributes: attributesOf(editAttributes(avatar.attributes)) }),
  };
}
