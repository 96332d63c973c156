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

/** The catalogue, or null where the server does not answer in time, or speaks otherwise. */
export async function fetchCatalogue(): Promise<Catalogue | null> {
  try {
    const signal = AbortSignal.timeout(WAIT_MS);
    const response = await fetch("catalogue.json", { cache: "no-store", signal });
    const catalogue = (await response.json()) as Catalogue;
    return response.ok && catalogue.format === 1 ? catalogue : null;
  } catch {
    return null;
  }
}
