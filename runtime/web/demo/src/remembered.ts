/** What the page remembers of its own; nothing where the browser blocks a site's data. */

import { named } from "./names.js";

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(named(key));
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(named(key), value);
  } catch {
    // It is forgotten when the page is closed.
  }
}
