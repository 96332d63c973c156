/**
 * The safetensors container, read strictly: header, metadata, tensor entries, digest.
 *
 * Every number is compared with the file's own size before anything is made from it.
 */

import { bundleError, checkBundle, reasonOf, shown } from "./errors.js";
import {
  isList,
  isObject,
  isOneOf,
  isString,
  isWithin,
  type Json,
  type JsonObject,
  parseJson,
  valuesOf,
} from "./json.js";
import { Sha256 } from "./sha256.js";
import { characters, decodeUtf8 } from "./utf8.js";
import { ARRAYS } from "./values.js";

export type Dtype = "F32" | "F16" | "I8" | "U8" | "U16" | "U32";

/** A tensor as it stands in the file; `bytes` is a view, aligned or not. */
export interface Tensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const MAX_HEADER_BYTES = 2 ** 20; // a header of ours is a few KiB; a larger one is not a bundle
const METADATA = "__metadata__";
const MAX_NUMBER = 2 ** 48; // keeps every product below exact
const DIGEST_KEY = "osd.sha256";
export const DIGEST = /^[0-9a-f]{64}$/;
const SIGNATURE_KEY = "osd.signature";
const SIGNATURE = /^[0-9a-f]{144}$/; // 16 digits of the key's id, 128 of the signature

export interface Header {
  readonly metadata: ReadonlyMap<string, string>;
  readonly entries: ReadonlyMap<string, Json>;
  /** Offset of the data section. */
  readonly start: number;
}

/** Metadata and unchecked tensor entries of a file. Throws BundleError. */
export function readHeader(data: Uint8Array): Header {
  checkBundle("too-short", data.length >= 8, `${data.length} bytes`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const headerBytes = Number(view.getBigUint64(0, true));
  const fits = headerBytes <= MAX_HEADER_BYTES && headerBytes <= data.length - 8;
  checkBundle("header-length", fits, `a header of ${headerBytes} bytes in ${data.length}`);
  const entries = parseHeader(data.subarray(8, 8 + headerBytes));
  const metadata = entries.has(METADATA) ? entries.get(METADATA) : new Map<string, Json>();
  const strings = isObject(metadata) && [...metadata.values()].every(isString);
  checkBundle("header-json", strings, "__metadata__ holds no strings");
  entries.delete(METADATA);
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
    .sort(([a, c], [b, d]) => a - b || c - d);
  const content = data.subarray(header.start);
  const tensors = new Map<string, Tensor>();
  let position = 0;
  for (const [begin, end, name, dtype, shape] of spans) {
    const found = `tensor ${shown(name)} begins at ${begin}, expected ${position}`;
    checkBundle("tensor-layout", begin === position, found);
    position = end;
    tensors.set(name, { dtype, shape, bytes: content.subarray(begin, end) });
  }
  const { length } = content;
  const found = `expected ${position} bytes of tensors, found ${length}`;
  checkBundle("truncated", position <= length, found);
  checkBundle("trailing-bytes", position === length, found);
  return tensors;
}

type Span = [begin: number, end: number, name: string, dtype: Dtype, shape: number[]];

function span(name: string, entry: Json): Span {
  const problem = bundleError("tensor-entry", `tensor ${shown(name)} is malformed`);
  const [dtype, shape, offsets] = valuesOf(entry, "dtype", "shape", "data_offsets");
  if (!isDtype(dtype) || !isNumbers(shape) || !isNumbers(offsets) || offsets.length !== 2) {
    throw problem;
  }
  const product = (numbers: readonly number[]): number => numbers.reduce((a, b) => a * b, 1);
  const [begin, end] = offsets as [number, number];
  const bytes = product(shape) * ARRAYS[dtype].BYTES_PER_ELEMENT;
  // Zero dimensions apart, so that no array library overflows on the others.
  if (product(shape.map((x) => x || 1)) >= MAX_NUMBER || end - begin !== bytes) throw problem;
  return [begin, end, name, dtype, shape];
}

const isDtype = isOneOf(Object.keys(ARRAYS) as Dtype[]);

function isNumbers(value: Json | undefined): value is number[] {
  return isList(value) && value.length <= 4 && value.every(isWithin(0, MAX_NUMBER));
}

/**
 * Where the digits under `key` stand in the file; `code` where they are not of `form`, or do not
 * stand exactly once in the header's bytes.
 */
function placeOf(
  data: Uint8Array,
  { metadata, start }: Header,
  key: string,
  form: RegExp,
  code: string,
): number {
  const digits = metadata.get(key) ?? "";
  // A character for each byte: the digits are ASCII, so their place is that of their bytes.
  const header = characters(data.subarray(0, start));
  const place = header.indexOf(digits, 8);
  const once = place >= 0 && header.indexOf(digits, place + 1) < 0;
  checkBundle(code, form.test(digits) && once, `expected ${key} once, as hex digits`);
  return place;
}

/**
 * Refuse (`bundle.digest`) a file whose bytes differ from those that were written.
 *
 * The digest is sha256 over the whole file, with its own 64 digits as zeros.
 */
export function checkDigest(data: Uint8Array, header: Header): void {
  const place = placeOf(data, header, DIGEST_KEY, DIGEST, "digest");
  const found = new Sha256()
    .update(data.subarray(0, place))
    .update(new Uint8Array(64).fill(0x30))
    .update(data.subarray(place + 64))
    .hex();
  const digest = header.metadata.get(DIGEST_KEY);
  checkBundle("digest", found === digest, `expected ${digest}, found ${found}`);
}

/**
 * Refuse (`bundle.signature`) a signature, where there is one, whose digits could not be found.
 *
 * Whether it is a signature of the file by a key that is trusted is not checked here.
 */
export function checkSignature(data: Uint8Array, header: Header): void {
  if (header.metadata.has(SIGNATURE_KEY)) {
    placeOf(data, header, SIGNATURE_KEY, SIGNATURE, "signature");
  }
}
