// Light and dark follow the system unless somebody chose.

export const themes = ["system", "light", "dark"] as const;
export type Theme = (typeof themes)[number];

const KEPT = "theme";

export function theme(): Theme {
  const kept = localStorage.getItem(KEPT);
  return themes.find((name) => name === kept) ?? "system";
}

export function dress(wanted: Theme = theme()) {
  localStorage.setItem(KEPT, wanted);
  document.documentElement.dataset.theme = wanted;
}
