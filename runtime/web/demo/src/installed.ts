/** What is installed: records of the base and of each task, and their files. */

import { type BaseManifest, OsdEdgeError, parseManifest, sha256 } from "../../src/core.js";
import type { Catalogue, OfferedTask } from "./catalogue.js";
import {
  checkAnswer,
  download,
  forgetOthers,
  isWhole,
  type OnProgress,
  readFile,
  STALL_MS,
} from "./download.js";
import { getRecord, locksOf, putRecord, type Store } from "./store.js";

const BASE = "record/base";
const TASK = "record/task/";
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

export async function installedTasks(store: Store): Promise<InstalledTask[]> {
  const keys = (await store.keys()).filter((key) => key.startsWith(TASK)).sort();
  const records = await Promise.all(keys.map((key) => getRecord<InstalledTask>(store, key)));
  return records.filter((record) => record !== null);
}

/** Get the base of `catalogue`; the one before it stays until this one is whole. */
export async function installBase(
  store: Store,
  catalogue: Catalogue,
  progress: OnProgress,
): Promise<void> {
  await whileInstalling(store, () => getBase(store, catalogue, progress));
  await cleanUp(store);
}

async function getBase(
  store: Store,
  { base }: Catalogue,
  progress: OnProgress,
): Promise<void> {
  const manifestUrl = `${base.url}manifest.json`;
  const manifestBytes = await fetchSmall(manifestUrl);
  if (sha256(manifestBytes) !== base.sha256) {
    throw new OsdEdgeError("download.digest", "The base's manifest was damaged on its way.");
  }
  const text = new TextDecoder().decode(manifestBytes);
  let before = 0;
  for (const [name, { bytes, sha256: digest }] of neededFiles(parseManifest(text))) {
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
}

export async function installTask(
  store: Store,
  { url, ...task }: OfferedTask,
  progress: OnProgress,
): Promise<void> {
  await whileInstalling(store, async () => {
    await download(store, { url, ...task }, progress);
    await putRecord(store, TASK + task.task, task);
  });
  await cleanUp(store);
}

export async function removeTask(store: Store, task: string): Promise<void> {
  await store.delete(TASK + task);
  await cleanUp(store);
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

const LOCK = "osd-edge files";

/** Do `work` while no tab cleans up: its file is whole before a record names it. */
async function whileInstalling(store: Store, work: () => Promise<void>): Promise<void> {
  const locks = locksOf(store);
  await (locks === undefined ? work() : locks.request(LOCK, { mode: "shared" }, work));
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
  const base = await installedBase(store);
  const wanted = new Set((await installedTasks(store)).map((task) => task.sha256));
  if (base !== null) {
    for (const [, { sha256: digest }] of neededFiles(parseManifest(base.manifest))) {
      wanted.add(digest);
    }
  }
  for (const key of await store.keys()) {
    const [kind, digest = ""] = key.split("/");
    // A download that broke off goes on from its pieces later.
    if (kind === "piece" && !(await isWhole(store, digest))) wanted.add(digest);
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
