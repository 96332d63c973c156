/** Files from the server into the store: resumed where they broke off, used only when whole. */

import { OsdEdgeError, Sha256 } from "../../src/core.js";
import { named } from "./names.js";
import { locksOf, PIECE_BYTES, type Store } from "./store.js";

/** A file that the server offers. */
export interface RemoteFile {
  readonly url: string;
  readonly bytes: number;
  readonly sha256: string;
}

export type OnProgress = (bytes: number) => void;

const RETRIES = 4; // of a connection that breaks, each after a pause twice as long
const FIRST_PAUSE_MS = 250;
/** A connection over which nothing comes for so long counts as broken. */
export const STALL_MS = 20_000;

const pieceKey = (sha256: string, i: number): string => `piece/${sha256}/${i}`;
const wholeKey = (sha256: string): string => `whole/${sha256}`;

/** Whether `sha256` is here and was checked. */
async function isWhole(store: Store, sha256: string): Promise<boolean> {
  return (await store.get(wholeKey(sha256))) !== null;
}

/** Whether something of one of the files `digests` is here. */
export async function isBegun(store: Store, digests: readonly string[]): Promise<boolean> {
  return (await store.keys()).some((key) => {
    const [kind, digest = ""] = key.split("/");
    return kind === "piece" && digests.includes(digest);
  });
}

/**
 * The bytes of a file that is here. Throws OsdEdgeError `storage.lost` where a piece is not; what
 * comes before it stays, and a download goes on from there.
 */
export async function readFile(store: Store, sha256: string, bytes: number): Promise<Uint8Array> {
  const result = new Uint8Array(bytes);
  for (let at = 0, i = 0; at < bytes; i++) {
    const piece = await store.get(pieceKey(sha256, i));
    if (piece === null || at + piece.length > bytes) {
      // Without its mark it may be on its way just now.
      if (await isWhole(store, sha256)) await forget(store, sha256, i);
      throw new OsdEdgeError("storage.lost", "The browser dropped a file: get it again.");
    }
    result.set(piece, at);
    at += piece.length;
  }
  return result;
}

/**
 * Get `file`, going on from the pieces that are here; two tabs that want it take turns.
 *
 * Throws OsdEdgeError: `download.broken` where the server cannot be reached (what came stays, and
 * the next call goes on from there), `download.gone` where it has no such file, `download.digest`
 * where the bytes are not those that were promised, `storage.full`. After the last three nothing of
 * the file is left.
 */
export function download(store: Store, file: RemoteFile, progress: OnProgress): Promise<void> {
  const work = (): Promise<void> => downloadNow(store, file, progress);
  const locks = locksOf(store);
  return locks === undefined ? work() : locks.request(named(file.sha256), work);
}

async function downloadNow(store: Store, file: RemoteFile, progress: OnProgress): Promise<void> {
  if (await isWhole(store, file.sha256)) return progress(file.bytes);
  const digest = new Sha256();
  let pieces = 0;
  let have = 0;
  for (let piece; (piece = await store.get(pieceKey(file.sha256, pieces))) !== null; pieces++) {
    digest.update(piece);
    have += piece.length;
  }
  progress(have);
  const keep = async (piece: Uint8Array): Promise<void> => {
    await store.put(pieceKey(file.sha256, pieces++), piece);
    digest.update(piece);
    have += piece.length;
  };
  try {
    for (let attempt = 0; have < file.bytes; attempt++) {
      const before = have;
      try {
        await fetchFrom(file, have, keep, progress);
      } catch (error) {
        if (error instanceof OsdEdgeError) throw error;
        if (have > before) attempt = 0;
        if (attempt >= RETRIES) {
          throw new OsdEdgeError(
            "download.broken",
            "The server cannot be reached. What came is kept: try again to go on from there.",
          );
        }
        await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** attempt));
      }
    }
    if (have !== file.bytes || digest.hex() !== file.sha256) {
      throw new OsdEdgeError(
        "download.digest",
        "The file was damaged on its way and is not used. Try again.",
      );
    }
    await store.put(wholeKey(file.sha256), new Uint8Array(0));
  } catch (error) {
    const code = error instanceof OsdEdgeError ? error.code : "";
    if (code !== "download.broken") await forget(store, file.sha256);
    throw error;
  }
}

/** Throws OsdEdgeError `download.gone` where the file is not there, Error for any other failure. */
export function checkAnswer({ ok, status }: Response): void {
  if (status === 404) {
    throw new OsdEdgeError(
      "download.gone",
      "The server has other files by now: look at the list again.",
    );
  }
  if (!ok) throw new Error(`status ${status}`);
}

/** Ask for the rest of `file` from `have` on, and `keep` it piece by piece. */
async function fetchFrom(
  file: RemoteFile,
  have: number,
  keep: (piece: Uint8Array) => Promise<void>,
  progress: OnProgress,
): Promise<void> {
  // The HTTP cache is passed by: what it held would be a second copy, or a damaged one again.
  const headers: HeadersInit = have > 0 ? { Range: `bytes=${have}-` } : {};
  const stalled = new AbortController();
  const inTime = async <T>(wait: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => stalled.abort(), STALL_MS);
    return wait.finally(() => clearTimeout(timer));
  };
  const { signal } = stalled;
  const response = await inTime(fetch(file.url, { headers, cache: "no-store", signal }));
  checkAnswer(response);
  if (response.body === null) throw new Error("an answer without a body");
  let skip = response.status === 206 ? 0 : have; // a server without ranges sends all of it
  let piece = new Uint8Array(Math.min(PIECE_BYTES, file.bytes - have));
  let filled = 0;
  const reader = response.body.getReader();
  try {
    for (let left = file.bytes - have; left > 0; ) {
      const { done, value } = await inTime(reader.read());
      if (done) throw new Error("the connection ended early");
      let chunk = value.subarray(Math.min(skip, value.length));
      skip -= value.length - chunk.length;
      while (chunk.length > 0 && left > 0) {
        const part = chunk.subarray(0, piece.length - filled);
        piece.set(part, filled);
        filled += part.length;
        chunk = chunk.subarray(part.length);
        if (filled < piece.length) continue;
        await keep(piece);
        left -= filled;
        have += filled;
        filled = 0;
        piece = new Uint8Array(Math.min(PIECE_BYTES, left));
      }
      progress(have + filled);
    }
  } catch (error) {
    if (filled > 0 && !(error instanceof OsdEdgeError)) await keep(piece.slice(0, filled));
    throw error;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Delete what there is of a file from piece `from` on; its mark first, lest it vouch for a part. */
async function forget(store: Store, sha256: string, from = 0): Promise<void> {
  await store.delete(wholeKey(sha256));
  for (const key of await store.keys()) {
    const [kind, digest, i] = key.split("/");
    if (kind === "piece" && digest === sha256 && Number(i) >= from) await store.delete(key);
  }
}

/** Delete every file but those of the digests `wanted`. */
export async function forgetOthers(store: Store, wanted: ReadonlySet<string>): Promise<void> {
  const unwanted = new Set<string>();
  for (const key of await store.keys()) {
    const [kind, digest = ""] = key.split("/");
    if ((kind === "piece" || kind === "whole") && !wanted.has(digest)) unwanted.add(digest);
  }
  for (const digest of unwanted) await forget(store, digest);
}
