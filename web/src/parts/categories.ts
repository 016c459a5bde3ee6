import { language } from "../lib/language.svelte.js";

/** Names of the gallery's own categories. Another one, of an operator, is shown as it is. */
const labels: Record<string, { en: string; id: string }> = {
  business: { en: "Business", id: "Bisnis" },
  community: { en: "Community", id: "Masyarakat" },
  creative: { en: "Creative", id: "Kreatif" },
  education: { en: "Education", id: "Pendidikan" },
  healthcare: { en: "Healthcare", id: "Kesehatan" },
  hospitality: { en: "Hospitality", id: "Keramahtamahan" },
  sports: { en: "Sports", id: "Olahraga" },
  technology: { en: "Technology", id: "Teknologi" },
};

export function categoryLabel(category: string): string {
  return labels[category]?.[language.current] ?? category;
}
