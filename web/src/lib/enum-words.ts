/** The words of the contract's enums in addresses: `young-adult` for YOUNG_ADULT. */

type Enum = Record<string, string | number>;

/** Return the word of a value. Empty for UNSPECIFIED. */
export function enumWord(of: Enum, value: number): string {
  return value === 0
    ? ""
    : String(of[value] ?? "")
        .toLowerCase()
        .replaceAll("_", "-");
}

/** Return the value of a word. 0, UNSPECIFIED, for a word that names none. */
export function enumValue(of: Enum, word: string | null): number {
  const found = of[(word ?? "").toUpperCase().replaceAll("-", "_")];
  return typeof found === "number" ? found : 0;
}
