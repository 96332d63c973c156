/** All of OSD Edge but an onnxruntime: for workers, React Native, and readers of bundles. */

export { answer, type AnswerOptions, type Span } from "./answer.js";
export { type BaseFiles, filesAt } from "./base-files.js";
export type { Bundle, DecodedBundle, Factors, LayerFacts, SiteFacts } from "./bundle.js";
export { readBundle } from "./bundle-reader.js";
export type { Bytes } from "./bytes.js";
export { type Answer, chosen, classify, classifyImages } from "./classify.js";
export { embed } from "./embed.js";
export { encode } from "./encode.js";
export { BaseError, BundleError, InputError, OsdEdgeError, TaskError } from "./errors.js";
export { applyHead, type Head, type HeadInput, type HeadLayer, type Kind } from "./heads.js";
export type { PixelInputs, RunInputs, TokenInputs } from "./inputs.js";
export { type BaseManifest, checkFits, parseManifest, type Site } from "./manifest.js";
export type { Picture } from "./pictures.js";
export type { Probe, ProbeCase } from "./probe.js";
export { sigmoid, softmax } from "./scores.js";
export {
  EdgeSession,
  type Ort,
  type Output,
  type RunOptions,
  type SessionOptions,
} from "./session.js";
export { Sha256, sha256 } from "./sha256.js";
export { tag, type Tag, type TagOptions } from "./tag.js";
export type { DecodedTask } from "./task.js";
export type { TaskText } from "./task-text.js";
export {
  padded,
  type PlacedToken,
  type TextEncoding,
  type TextWindow,
  type TokenRow,
  type WindowOptions,
} from "./text-encoding.js";
export type { VectorFacts } from "./vectors-part.js";
