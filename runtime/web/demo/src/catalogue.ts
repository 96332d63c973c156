/** What the server offers: `catalogue.json`, as `osd-edge serve` writes it. */

import type { Kind } from "../../src/core.js";

export interface OfferedTask {
  readonly task: string;
  readonly kind: Kind;
  readonly labels: readonly string[];
  /** Fingerprint of the base that it was made for. */
  readonly base: string;
  readonly url: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface Catalogue {
  readonly format: 1;
  readonly tool: string;
  readonly base: {
    readonly name: string;
    readonly fingerprint: string;
    /** Folder of the files; `sha256` is that of its manifest.json. */
    readonly url: string;
    readonly sha256: string;
    readonly bytes: number;
  };
  readonly tasks: readonly OfferedTask[];
}

const WAIT_MS = 5000; // for a server that may be silent: the page asks again when it is looked at

/** The catalogue; "offline" where none comes in time, "newer" where it is for a newer page. */
export async function fetchCatalogue(): Promise<Catalogue | "offline" | "newer"> {
  try {
    const signal = AbortSignal.timeout(WAIT_MS);
    const response = await fetch("catalogue.json", { cache: "no-store", signal });
    const catalogue = (await response.json()) as Catalogue;
    if (!response.ok) return "offline";
    if (catalogue.format === 1) return catalogue;
    return (catalogue.format as number) > 1 ? "newer" : "offline";
  } catch {
    return "offline";
  }
}
