/** OSD Edge in a browser, over onnxruntime-web's WebAssembly. */

import * as ort from "onnxruntime-web/wasm";
import { type BaseFiles, filesAt } from "./base-files.js";
import { EdgeSession as CoreSession, type SessionOptions } from "./session.js";

export * from "./core.js";

/** Tasks over one base; see `EdgeSession` of `osd-edge/core`, whose `open` takes any onnxruntime. */
export const EdgeSession = {
  /**
   * Open the base package at address `base`, or the one whose files `base` gives.
   *
   * Throws BaseError.
   */
  create(base: string | URL | BaseFiles, options: SessionOptions = {}): Promise<CoreSession> {
    return CoreSession.open(ort, typeof base === "function" ? base : filesAt(base), options);
  },
};

export type EdgeSession = CoreSession;
