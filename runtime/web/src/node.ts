/** OSD Edge in Node: over onnxruntime-node where it is installed, else onnxruntime-web. */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type BaseFiles, filesAt } from "./base-files.js";
import { type Bytes, isBytes } from "./bytes.js";
import { baseError, bundleError, reasonOf, shown } from "./errors.js";
import { onnxruntime } from "./node-ort.js";
import { EdgeSession as CoreSession, type SessionOptions } from "./session.js";

export * from "./core.js";

/** Tasks over one base; see `EdgeSession` of `osd-edge/core`, whose `open` takes any onnxruntime. */
export const EdgeSession = {
  /**
   * Open the base package in folder or at address `base`, or the one whose files `base` gives.
   *
   * The session's `load` takes a bundle's path too. Throws BaseError.
   */
  async create(
    base: string | URL | BaseFiles,
    options: SessionOptions = {},
  ): Promise<CoreSession> {
    const session = await CoreSession.open(await onnxruntime(), filesOf(base), options);
    const load = session.load.bind(session);
    return Object.assign(session, {
      load: async (bundle: Bytes | string | URL, name?: string) =>
        load(await bundleOf(bundle), name),
    });
  },
};

export type EdgeSession = CoreSession;

/** Bytes and what `fetch` takes as they are; of anything else the file's bytes. */
async function bundleOf(bundle: Bytes | string | URL): Promise<Bytes | string | URL> {
  if (isBytes(bundle) || /^(https?|data|blob):/.test(String(bundle))) return bundle;
  try {
    return await readFile(pathOf(bundle));
  } catch (error) {
    throw bundleError("missing", `cannot read ${shown(String(bundle))} (${reasonOf(error)})`);
  }
}

function filesOf(base: string | URL | BaseFiles): BaseFiles {
  if (typeof base === "function") return base;
  if (/^https?:/.test(String(base))) return filesAt(base);
  return async (name) => {
    try {
      return await readFile(`${pathOf(base)}/${name}`);
    } catch (error) {
      const reason = name === "manifest.json" ? "missing" : "file";
      throw baseError(reason, `${shown(String(base))} is not a whole base package (${reasonOf(error)})`);
    }
  };
}

function pathOf(place: string | URL): string {
  const text = String(place);
  return text.startsWith("file:") ? fileURLToPath(text) : text;
}
