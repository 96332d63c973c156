/**
 * The safetensors container, read strictly: header, metadata, tensor entries, digest.
 *
 * Every number is compared with the file's own size before anything is made from it.
 */

import { bundleError, reasonOf, shown } from "./errors.js";
import { isList, isObject, isString, isWithin, type Json, type JsonObject, parseJson, valuesOf } from "./json.js";
import { Sha256 } from "./sha256.js";
import { decodeUtf8 } from "./utf8.js";
import { ARRAYS } from "./values.js";

export type Dtype = "F32" | "F16" | "I8" | "U8" | "U16" | "U32";

/** A tensor as it stands in the file; `bytes` is a view, aligned or not. */
export interface Tensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const MAX_HEADER_BYTES = 2 ** 20; // a header of ours is a few KiB; a larger one is not a bundle
const MAX_NUMBER = 2 ** 48; // keeps every product below exact
export const DIGEST_KEY = "osd.sha256";
export const DIGEST = /^[0-9a-f]{64}$/;

export interface Header {
  readonly metadata: ReadonlyMap<string, string>;
  readonly entries: ReadonlyMap<string, Json>;
  /** Offset of the data section. */
  readonly start: number;
}

/** Metadata and unchecked tensor entries of a file. Throws BundleError. */
export function readHeader(data: Uint8Array): Header {
  if (data.length < 8) {
    throw bundleError("too-short", `${data.length} bytes`);
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const headerBytes = Number(view.getBigUint64(0, true));
  if (headerBytes > MAX_HEADER_BYTES || headerBytes > data.length - 8) {
    throw bundleError("header-length", `a header of ${headerBytes} bytes in ${data.length}`);
  }
  const entries = new Map(parseHeader(data.subarray(8, 8 + headerBytes)));
  const metadata = entries.get("__metadata__") ?? new Map<string, Json>();
  const stringsOnly = isObject(metadata) && [...metadata.values()].every(isString);
  if (!stringsOnly || entries.get("__metadata__") === null) {
    throw bundleError("header-json", "__metadata__ holds no strings");
  }
  entries.delete("__metadata__");
  return { metadata: metadata as Map<string, string>, entries, start: 8 + headerBytes };
}

function parseHeader(bytes: Uint8Array): JsonObject {
  const text = decodeUtf8(bytes);
  try {
    // Only an object begins with a brace.
    if (text?.startsWith("{")) return parseJson(text) as JsonObject;
  } catch (error) {
    throw bundleError("header-json", reasonOf(error));
  }
  throw bundleError("header-json", "no JSON object");
}

/** Tensors as views of `data`, every offset checked; their meaning is not. Throws BundleError. */
export function readTensors(data: Uint8Array, header: Header): Map<string, Tensor> {
  const spans = [...header.entries]
    .map(([name, entry]) => span(name, entry))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  const content = data.subarray(header.start);
  const tensors = new Map<string, Tensor>();
  let position = 0;
  for (const { name, begin, end, dtype, shape } of spans) {
    if (begin !== position) {
      throw bundleError(
        "tensor-layout",
        `tensor ${shown(name)} begins at ${begin}, expected ${position}`,
      );
    }
    position = end;
    tensors.set(name, { dtype, shape, bytes: content.subarray(begin, end) });
  }
  if (position !== content.length) {
    throw bundleError(
      position > content.length ? "truncated" : "trailing-bytes",
      `expected ${position} bytes of tensors, found ${content.length}`,
    );
  }
  return tensors;
}

interface Span {
  name: string;
  begin: number;
  end: number;
  dtype: Dtype;
  shape: number[];
}

function span(name: string, entry: Json): Span {
  const problem = bundleError("tensor-entry", `tensor ${shown(name)} is malformed`);
  const [dtype, shape, offsets] = valuesOf(entry, "dtype", "shape", "data_offsets");
  if (!isString(dtype) || !Object.hasOwn(ARRAYS, dtype)) throw problem;
  if (!isNumbers(shape) || !isNumbers(offsets) || offsets.length !== 2) throw problem;
  // Zero dimensions apart, so that no array library overflows on the others.
  if (shape.reduce((product, x) => product * (x || 1), 1) >= MAX_NUMBER) throw problem;
  const [begin, end] = offsets as [number, number];
  const bytes = shape.reduce((product, x) => product * x, ARRAYS[dtype as Dtype].BYTES_PER_ELEMENT);
  if (end - begin !== bytes) throw problem;
  return { name, begin, end, dtype: dtype as Dtype, shape };
}

function isNumbers(value: Json | undefined): value is number[] {
  return isList(value) && value.length <= 4 && value.every(isWithin(0, MAX_NUMBER));
}

/**
 * Refuse (`bundle.digest`) a file whose bytes differ from those that were written.
 *
 * The digest is sha256 over the whole file, with its own 64 digits as zeros.
 */
export function checkDigest(data: Uint8Array, { metadata, start }: Header): void {
  const digest = metadata.get(DIGEST_KEY) ?? "";
  // A character for each byte: the digits are ASCII, so their place is that of their bytes.
  const header = Array.from(data.subarray(8, start), (byte) => String.fromCharCode(byte)).join("");
  const place = DIGEST.test(digest) ? header.indexOf(digest) : -1;
  if (place < 0 || header.indexOf(digest, place + 1) >= 0) {
    throw bundleError("digest", `expected ${DIGEST_KEY} once`);
  }
  const found = new Sha256()
    .update(data.subarray(0, 8 + place))
    .update(new Uint8Array(64).fill(0x30))
    .update(data.subarray(8 + place + 64))
    .hex();
  if (found !== digest) {
    throw bundleError("digest", `expected ${digest}, found ${found}`);
  }
}
