/**
 * Where the page keeps files: pieces of them and small records, in Cache Storage.
 *
 * A file is kept in pieces of 4 MiB under its digest, so a broken download goes on where it broke
 * off, a finished one takes its room once, and reading it needs no second copy. Browsers give
 * Cache Storage to https and localhost alone; elsewhere the page keeps things in memory.
 */

import { OsdEdgeError } from "../../src/core.js";
import { FILES_CACHE } from "./names.js";

export const PIECE_BYTES = 4 * 2 ** 20;

export interface Store {
  /** Whether what is put here is still there after the page was closed. */
  readonly lasting: boolean;
  get(key: string): Promise<Uint8Array | null>;
  /** Throws OsdEdgeError `storage.full` where there is no room. */
  put(key: string, bytes: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  keys(): Promise<string[]>;
}

export async function openStore(): Promise<Store> {
  try {
    return new CacheStore(await caches.open(FILES_CACHE));
  } catch {
    return new MemoryStore(); // there is none over plain http, nor where a site's data is blocked
  }
}

class CacheStore implements Store {
  readonly lasting = true;

  constructor(readonly cache: Cache) {}

  async get(key: string): Promise<Uint8Array | null> {
    const response = await this.cache.match(`/-/${key}`);
    return response === undefined ? null : new Uint8Array(await response.arrayBuffer());
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    try {
      await this.cache.put(`/-/${key}`, new Response(bytes as Uint8Array<ArrayBuffer>));
    } catch (error) {
      if (error instanceof DOMException && error.name === "QuotaExceededError") throw full();
      throw error;
    }
  }

  async delete(key: string): Promise<void> {
    await this.cache.delete(`/-/${key}`);
  }

  async keys(): Promise<string[]> {
    const requests = await this.cache.keys();
    return requests.map(({ url }) => decodeURIComponent(new URL(url).pathname.slice("/-/".length)));
  }
}

class MemoryStore implements Store {
  readonly lasting = false;
  readonly #map = new Map<string, Uint8Array>();

  async get(key: string): Promise<Uint8Array | null> {
    return this.#map.get(key) ?? null;
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    this.#map.set(key, bytes);
  }

  async delete(key: string): Promise<void> {
    this.#map.delete(key);
  }

  async keys(): Promise<string[]> {
    return [...this.#map.keys()];
  }
}

function full(): OsdEdgeError {
  return new OsdEdgeError(
    "storage.full",
    "This browser gives the page no more room. Remove a task here, or free space on the phone.",
  );
}

/** Locks between tabs: https and localhost alone have them. A store of one tab needs none. */
export function locksOf({ lasting }: Store): LockManager | undefined {
  return lasting ? (navigator as { locks?: LockManager }).locks : undefined;
}

/** A record: JSON under a key. */
export async function getRecord<T>(store: Store, key: string): Promise<T | null> {
  const bytes = await store.get(key);
  return bytes === null ? null : (JSON.parse(new TextDecoder().decode(bytes)) as T);
}

export function putRecord(store: Store, key: string, value: unknown): Promise<void> {
  return store.put(key, new TextEncoder().encode(JSON.stringify(value)));
}
