/** All of OSD Edge but an onnxruntime: for workers, React Native, and readers of bundles. */

export { type BaseFiles, filesAt } from "./base-files.js";
export type { Bundle, DecodedBundle, Factors, LayerFacts, SiteFacts } from "./bundle.js";
export { readBundle } from "./bundle-reader.js";
export { BaseError, BundleError, InputError, OsdEdgeError, TaskError } from "./errors.js";
export { applyHead, type Head, type HeadInput, type HeadLayer, sigmoid, softmax } from "./heads.js";
export { type BaseManifest, checkFits, parseManifest, type Site } from "./manifest.js";
export {
  type Answer,
  EdgeSession,
  type Ort,
  type Output,
  type RunInputs,
  type RunOptions,
  type SessionOptions,
  type TextEncoding,
} from "./session.js";
export { Sha256, sha256 } from "./sha256.js";
