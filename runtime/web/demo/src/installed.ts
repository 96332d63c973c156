/** What is installed: records of the base and of each task, and their files. */

import { type BaseManifest, OsdEdgeError, parseManifest, sha256 } from "../../src/core.js";
import type { Catalogue, OfferedTask } from "./catalogue.js";
import {
  checkAnswer,
  download,
  forgetOthers,
  isBegun,
  type OnProgress,
  readFile,
  STALL_MS,
} from "./download.js";
import { named } from "./names.js";
import { getRecord, locksOf, putRecord, type Store } from "./store.js";

const BASE = "record/base";
const TASK = "record/task/";
/** Digests of the files of an install that is not done, under the digest of what is offered. */
const PENDING = "record/pending/";
const NEEDED = ["model.onnx", "model.onnx.data", "tokenizer.json"];

export interface InstalledBase {
  readonly name: string;
  /** The text of manifest.json, and its digest. */
  readonly manifest: string;
  readonly sha256: string;
  readonly bytes: number;
}

export type InstalledTask = Omit<OfferedTask, "url">;

export function installedBase(store: Store): Promise<InstalledBase | null> {
  return getRecord<InstalledBase>(store, BASE);
}

export function installedTasks(store: Store): Promise<InstalledTask[]> {
  return recordsUnder<InstalledTask>(store, TASK);
}

async function recordsUnder<T>(store: Store, prefix: string): Promise<T[]> {
  const keys = (await store.keys()).filter((key) => key.startsWith(prefix)).sort();
  const records = await Promise.all(keys.map((key) => getRecord<T>(store, key)));
  return records.filter((record) => record !== null);
}

/** Get the base of `catalogue`; the one before it stays until this one is whole. */
export async function installBase(
  store: Store,
  catalogue: Catalogue,
  progress: OnProgress,
): Promise<void> {
  const { base } = catalogue;
  const manifestUrl = `${base.url}manifest.json`;
  const manifestBytes = await fetchSmall(manifestUrl);
  if (sha256(manifestBytes) !== base.sha256) {
    throw new OsdEdgeError("download.digest", "The base's manifest was damaged on its way.");
  }
  const text = new TextDecoder().decode(manifestBytes);
  const files = neededFiles(parseManifest(text));
  const digests = files.map(([, { sha256: digest }]) => digest);
  await install(store, base.sha256, digests, async () => {
    let before = 0;
    for (const [name, { bytes, sha256: digest }] of files) {
      const file = { url: base.url + name, bytes, sha256: digest };
      await download(store, file, (done) => progress(before + done));
      before += bytes;
    }
    const record: InstalledBase = {
      name: base.name,
      manifest: text,
      sha256: base.sha256,
      bytes: base.bytes,
    };
    await putRecord(store, BASE, record);
  });
}

export async function installTask(
  store: Store,
  { url, ...task }: OfferedTask,
  progress: OnProgress,
): Promise<void> {
  await install(store, task.sha256, [task.sha256], async () => {
    await download(store, { url, ...task }, progress);
    await putRecord(store, TASK + task.task, task);
  });
}

export async function removeTask(store: Store, task: string): Promise<void> {
  await store.delete(TASK + task);
  await cleanUp(store);
}

/** Let go of installs that broke off and cannot go on: the server offers other files by now. */
export async function dropUnoffered(store: Store, { base, tasks }: Catalogue): Promise<void> {
  const offered = new Set([base, ...tasks].map(({ sha256: digest }) => PENDING + digest));
  const keys = (await store.keys()).filter((key) => key.startsWith(PENDING) && !offered.has(key));
  for (const key of keys) await store.delete(key);
  if (keys.length > 0) await cleanUp(store);
}

/** The file `name` of the installed base. */
export async function readBaseFile(
  store: Store,
  base: InstalledBase,
  name: string,
): Promise<Uint8Array> {
  if (name === "manifest.json") return new TextEncoder().encode(base.manifest);
  const facts = parseManifest(base.manifest).files.get(name);
  if (facts === undefined) throw new OsdEdgeError("base.manifest", `no ${name} in the base`);
  return readFile(store, facts.sha256, facts.bytes);
}

export function readTask(store: Store, task: InstalledTask): Promise<Uint8Array> {
  return readFile(store, task.sha256, task.bytes);
}

/** Files of the base that this page uses, those that are in its manifest. */
function neededFiles(
  manifest: BaseManifest,
): [string, { readonly bytes: number; readonly sha256: string }][] {
  return [...manifest.files].filter(([name]) => NEEDED.includes(name));
}

const LOCK = named("files");

/**
 * Do `work`, which gets the files `digests` of what is offered as `offered`, and then makes the
 * record that names them. Where it breaks off, what came stays for the next attempt.
 */
async function install(
  store: Store,
  offered: string,
  digests: readonly string[],
  work: () => Promise<void>,
): Promise<void> {
  const locks = locksOf(store);
  const noted = async (): Promise<void> => {
    const note = PENDING + offered;
    await putRecord(store, note, digests);
    try {
      await work();
    } catch (error) {
      if (!(await isBegun(store, digests))) await store.delete(note); // nothing of it stays
      throw error;
    }
    await store.delete(note);
  };
  await (locks === undefined ? noted() : locks.request(LOCK, { mode: "shared" }, noted));
  await cleanUp(store);
}

/** Delete files that no record names, unless some tab is installing: then the next change does. */
async function cleanUp(store: Store): Promise<void> {
  const locks = locksOf(store);
  if (locks === undefined) return cleanUpNow(store);
  await locks.request(LOCK, { ifAvailable: true }, async (lock) => {
    if (lock !== null) await cleanUpNow(store);
  });
}

async function cleanUpNow(store: Store): Promise<void> {
  // What is not done first: once its note is gone, its record is there.
  const wanted = new Set((await recordsUnder<string[]>(store, PENDING)).flat());
  for (const task of await installedTasks(store)) wanted.add(task.sha256);
  const base = await installedBase(store);
  if (base !== null) {
    for (const [, { sha256: digest }] of neededFiles(parseManifest(base.manifest))) {
      wanted.add(digest);
    }
  }
  await forgetOthers(store, wanted);
}

async function fetchSmall(url: string): Promise<Uint8Array> {
  try {
    const signal = AbortSignal.timeout(STALL_MS);
    const response = await fetch(url, { cache: "no-store", signal });
    checkAnswer(response);
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    if (error instanceof OsdEdgeError) throw error;
    throw new OsdEdgeError("download.broken", "The server cannot be reached. Try again.");
  }
}
