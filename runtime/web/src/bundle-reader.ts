/**
 * Reading a task bundle that may be damaged or hostile.
 *
 * The order of the checks is part of the format, so that every reader gives the same code for the
 * same file: header, format version, layout, digest, keys, sites, labels, head.
 */

import type { Bundle, LayerFacts, Part } from "./bundle.js";
import { CodedPart } from "./coded-part.js";
import { checkDigest, DIGEST, DIGEST_KEY, readHeader, readTensors } from "./container.js";
import { bundleError, reasonOf, shown } from "./errors.js";
import {
  type Activation,
  ACTIVATIONS,
  type Head,
  type Kind,
  KINDS,
  POOLINGS,
  type TaskKind,
} from "./heads.js";
import { isList, isOneOf, isString, isWithin, type Json, parseJson, valuesOf } from "./json.js";
import { plainPart, take } from "./plain-part.js";

const FORMAT_VERSION = "1";
const MAX_BUNDLE_BYTES = 2 ** 31;
export const TASK_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const REQUIRED_KEYS = [
  ..."format task task_version base site_count labels head".split(" ").map((key) => `osd.${key}`),
  DIGEST_KEY,
];
const IGNORABLE = "info."; // keys and tensors so named may be unknown; any other must be understood
const MAX_LAYERS = 16;
const isKind = isOneOf(Object.keys(KINDS) as Kind[]);
const isPooling = isOneOf(POOLINGS);
const isActivation = isOneOf(Object.keys(ACTIVATIONS) as Activation[]);
const isRank = isWithin(0, Infinity);
const isCount = isWithin(1, Infinity);
/** What values must look like. */
const FORMS: readonly (readonly [string, RegExp])[] = [
  ["osd.task", TASK_NAME],
  ["osd.base", DIGEST],
  ["osd.site_count", /^\d{1,5}$/],
];

/**
 * The bundle in `file`, wholly checked but for its base; factors stay coded, as views of `file`.
 *
 * Throws BundleError with the code that docs/bundle-format.md lists.
 */
export function readBundle(file: Uint8Array): Bundle {
  // Node's Buffer is a Uint8Array whose slices are views, where those of others are copies.
  const data = new Uint8Array(file.buffer, file.byteOffset, file.length);
  if (data.length > MAX_BUNDLE_BYTES) {
    throw bundleError("header-length", `${data.length} bytes`);
  }
  const header = readHeader(data);
  checkVersion(header.metadata);
  const tensors = readTensors(data, header);
  checkDigest(data, header);
  checkKeys(header.metadata);
  const key = (name: string): string => header.metadata.get(name) as string;
  for (const name of [...tensors.keys()]) if (name.startsWith(IGNORABLE)) tensors.delete(name);
  const siteCount = Number(key("osd.site_count"));
  const part: Part = tensors.has("osd.coded")
    ? new CodedPart(take(tensors, "osd.coded", ["U8"], 1).bytes, siteCount)
    : plainPart(tensors, siteCount);
  const labels = readLabels(key("osd.labels"));
  const head = parseHead(key("osd.head"), labels, (i, facts) => part.addLayer(i, facts));
  part.finish();
  for (const name of tensors.keys()) {
    throw bundleError("tensor-unknown", `unknown tensor ${shown(name)}`);
  }
  return {
    task: key("osd.task"),
    taskVersion: key("osd.task_version"),
    base: key("osd.base"),
    siteCount,
    metadata: header.metadata,
    values: part.values,
    sites: part.sites,
    labels,
    head,
    decode: () => {
      const { factors, layers } = part.decode();
      return { factors, head: { ...head, layers } };
    },
  };
}

function checkVersion(metadata: ReadonlyMap<string, string>): void {
  const version = metadata.get("osd.format");
  if (version === undefined) {
    throw bundleError("not-a-bundle", "no key osd.format");
  }
  if (version !== FORMAT_VERSION) {
    throw bundleError("version", `format ${shown(version, 20)}, expected ${FORMAT_VERSION}`);
  }
}

function checkKeys(metadata: ReadonlyMap<string, string>): void {
  for (const key of metadata.keys()) {
    if (!REQUIRED_KEYS.includes(key) && !key.startsWith(IGNORABLE)) {
      throw bundleError("key-unknown", `unknown key ${shown(key)}`);
    }
  }
  for (const key of REQUIRED_KEYS) {
    if (!metadata.has(key)) {
      throw bundleError("key-missing", `no key ${key}`);
    }
  }
  for (const [key, form] of FORMS) {
    const value = metadata.get(key) as string;
    // A site count is below 2¹⁶; names and digests are no numbers, or their size says nothing.
    const over = key === "osd.site_count" && Number(value) > 65535;
    if (!form.test(value) || over) throw bundleError("key-value", `${key} is ${shown(value)}`);
  }
}

function readLabels(text: string): string[] {
  const labels = parse(text, "osd.labels");
  const names = isList(labels) ? labels : [""];
  const named = names.every((name): name is string => isString(name) && name !== "");
  if (!named || new Set(names).size !== names.length) {
    throw bundleError("labels", "expected distinct names");
  }
  return names;
}

/** The head in `text`; each of its layers is given to `add`, as it comes. */
function parseHead(
  text: string,
  labels: readonly string[],
  add: (i: number, facts: LayerFacts) => void,
): Omit<Head, "layers"> & { readonly layers: readonly LayerFacts[] } {
  const description = parse(text, "osd.head");
  const problem = bundleError("head", "osd.head is malformed");
  const keys = ["kind", "pooling", "layers"];
  const three = valuesOf(description, ...keys);
  const [kind, pooling, layers, normalize] =
    three.length > 0 ? three : valuesOf(description, ...keys, "normalize");
  if (!isString(kind) || !isString(pooling)) throw problem;
  if (!isKind(kind) || !isPooling(pooling)) {
    throw bundleError("head-kind", `unknown: ${shown(kind, 40)} or ${shown(pooling, 40)}`);
  }
  const { perToken, vector, labels: fixed = labels }: TaskKind = KINDS[kind];
  const normalizes = vector ? typeof normalize === "boolean" : normalize === undefined;
  if (!normalizes || !perToken === (pooling === "none")) throw problem;
  if (!isList(layers) || layers.length > MAX_LAYERS || (!vector && !layers.length)) throw problem;
  const read = layers.map((layer, i) => {
    const facts = layerFacts(i, layer);
    add(i, facts);
    return facts;
  });
  if (read.some(({ d }, i) => i > 0 && d !== (read[i - 1] as LayerFacts).n)) {
    throw bundleError("head", "its layers do not fit each other");
  }
  const outputs = vector ? 0 : (read.at(-1) as LayerFacts).n;
  if (outputs !== labels.length || labels.join() !== fixed.join()) {
    throw bundleError("labels", `${labels.length} labels for ${kind} of ${outputs} outputs`);
  }
  return { kind, pooling, layers: read, normalize: normalize === true };
}

function layerFacts(i: number, description: Json): LayerFacts {
  const problem = bundleError("head", `layer ${i} is malformed`);
  const [shape, rank, activation] = valuesOf(description, "shape", "rank", "activation");
  if (!isList(shape) || shape.length !== 2 || !shape.every(isCount) || !isRank(rank)) throw problem;
  const [n, d] = shape as [number, number];
  if (activation !== null && !isString(activation)) throw problem;
  if (activation !== null && !isActivation(activation)) {
    throw bundleError("head-kind", `unknown activation ${shown(activation, 40)}`);
  }
  return { n, d, rank, activation };
}

function parse(text: string, key: string): Json {
  try {
    return parseJson(text);
  } catch (error) {
    throw bundleError("key-value", `${key} is not JSON: ${reasonOf(error)}`);
  }
}
