/** Where the files of a base package come from. */

import type { Bytes } from "./bytes.js";
import { baseError, reasonOf, shown } from "./errors.js";
import { MANIFEST } from "./manifest.js";

/** The bytes of a file of the package, by its name in the folder. */
export type BaseFiles = (name: string) => Promise<Bytes>;

/** What is used of the web's `fetch`. */
interface FetchResponse {
  readonly ok: boolean;
  readonly status: number;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** The bytes at `address`; throws Error where they cannot be had. */
export async function fetchBytes(address: string): Promise<ArrayBuffer> {
  const { fetch } = globalThis as unknown as { fetch(address: string): Promise<FetchResponse> };
  const response = await fetch(address);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.arrayBuffer();
}

/** Files below the address `base`, with or without a slash at its end. */
export function filesAt(base: string | URL): BaseFiles {
  const folder = String(base).replace(/\/?$/, "/");
  return (name) =>
    fetchBytes(folder + name).catch((error: unknown) => {
      const reason = name === MANIFEST ? "missing" : "file";
      throw baseError(reason, `cannot read ${shown(folder + name, 200)} (${reasonOf(error)})`);
    });
}
