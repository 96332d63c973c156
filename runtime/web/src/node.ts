/** OSD Edge in Node: over onnxruntime-node where it is installed, else onnxruntime-web. */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type BaseFiles, filesAt } from "./base-files.js";
import { baseError, reasonOf } from "./errors.js";
import { EdgeSession as CoreSession, type Ort, type SessionOptions } from "./session.js";

export * from "./core.js";

/** Tasks over one base; see `EdgeSession` of `osd-edge/core`, whose `open` takes any onnxruntime. */
export const EdgeSession = {
  /**
   * Open the base package in folder or at address `base`, or the one whose files `base` gives.
   *
   * Throws BaseError.
   */
  async create(
    base: string | URL | BaseFiles,
    options: SessionOptions = {},
  ): Promise<CoreSession> {
    return CoreSession.open(await onnxruntime(), filesOf(base), options);
  },
};

export type EdgeSession = CoreSession;

async function onnxruntime(): Promise<Ort> {
  try {
    return await import("onnxruntime-node");
  } catch {
    return (await import("onnxruntime-web")) as unknown as Ort;
  }
}

function filesOf(base: string | URL | BaseFiles): BaseFiles {
  if (typeof base === "function") return base;
  if (/^https?:/.test(String(base))) return filesAt(base);
  const folder = String(base).startsWith("file:") ? fileURLToPath(base) : String(base);
  return async (name) => {
    try {
      return await readFile(`${folder}/${name}`);
    } catch (error) {
      const reason = name === "manifest.json" ? "missing" : "file";
      throw baseError(reason, `${folder} is not a whole base package (${reasonOf(error)})`);
    }
  };
}
