/**
 * Reading a task bundle that may be damaged or hostile.
 *
 * The order of the checks is part of the format, so that every reader gives the same code for the
 * same file: header, format version, layout, digest, keys, sites, labels, head, text settings, probe,
 * vectors, slots, and only then whatever must be decoded.
 */

import { type Bundle, matrices, type Part } from "./bundle.js";
import { type Bytes, bytesOf } from "./bytes.js";
import { codedPart } from "./coded-part.js";
import { checkDigest, checkSignature, DIGEST, readHeader, readTensors } from "./container.js";
import { bundleError, checkBundle, reasonOf, shown } from "./errors.js";
import { readHead } from "./head-reader.js";
import { isList, isString, type Json, parseJson } from "./json.js";
import { plainPart, take } from "./plain-part.js";
import { checkProbe, type Probe } from "./probe.js";
import { checkText, type TaskText } from "./task-text.js";
import { sum } from "./values.js";
import { vectorsPart } from "./vectors-part.js";

const FORMAT_VERSION = "1";
const MAX_BUNDLE_BYTES = 2 ** 31;
const SLOTS_PER_BYTE = 128; // all that factors, head and vectors have, zeros too
export const TASK_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const PREFIX = "osd.";
const IGNORABLE = "info."; // keys and tensors so named may be unknown; any other must be understood
const keys = (names: string): string[] => names.split(" ").map((name) => PREFIX + name);
const REQUIRED_KEYS = keys("format task task_version base site_count labels head sha256");
const KNOWN_KEYS = [...REQUIRED_KEYS, ...keys("sequence text probe signature")];
/** What values must look like, where they are there. */
const FORMS: readonly (readonly [string, RegExp])[] = [
  ["task", TASK_NAME],
  ["base", DIGEST],
  ["site_count", /^\d{1,5}$/],
  ["sequence", /^[1-9]\d{0,14}$/],
];

/**
 * The bundle in `file`, wholly checked but for its base; factors stay coded, as views of `file`.
 *
 * Throws BundleError with the code that docs/bundle-format.md lists.
 */
export function readBundle(file: Bytes): Bundle {
  const data = bytesOf(file);
  const { length } = data;
  checkBundle("header-length", length <= MAX_BUNDLE_BYTES, `${length} bytes`);
  const header = readHeader(data);
  const { metadata } = header;
  const value = (key: string): string | undefined => metadata.get(PREFIX + key);
  const given = value as (key: string) => string; // what checkKeys requires
  checkVersion(value("format"));
  const tensors = readTensors(data, header);
  checkDigest(data, header);
  checkKeys(metadata);
  checkSignature(data, header);
  for (const name of tensors.keys()) if (name.startsWith(IGNORABLE)) tensors.delete(name);
  const bytes = (name: string): Uint8Array => take(tensors, name, "U8").bytes;
  const siteCount = Number(given("site_count"));
  const part: Part = tensors.has("osd.coded")
    ? codedPart(bytes("osd.coded"), siteCount)
    : plainPart(tensors, siteCount);

  /** Check the JSON under `key` with `check`, and then give it as it stands there, or null. */
  const json = <T>(key: string, check: (parsed: Json) => void): T | null => {
    const text = value(key);
    if (text === undefined) return null;
    check(parse(text, key));
    return JSON.parse(text) as T;
  };
  const labels = json<string[]>("labels", checkLabels) as string[];
  const head = readHead(parse(given("head"), "head"), labels, part.addLayer);
  const { pooling, layers } = head;
  const perToken = pooling === "none";
  const text = json<TaskText>("text", (parsed) => checkText(parsed, perToken));
  const probe = json<Probe>("probe", (parsed) =>
    checkProbe(
      parsed,
      pooling === "logits" ? "tokens" : "logits",
      perToken ? 0 : (layers.at(-1)?.n ?? 0),
    ),
  );
  const changes = tensors.has("osd.vectors") ? vectorsPart(bytes("osd.vectors")) : null;
  const vectors = changes?.vectors ?? [];
  const slots = sum([
    ...[...part.sites, ...layers].flatMap(matrices).map(([rows, width]) => rows * width),
    ...vectors.map(({ n }) => n),
  ]);
  checkBundle("slots", slots <= SLOTS_PER_BYTE * length, `${slots} slots in ${length} bytes`);
  part.finish();
  changes?.integers();
  const unknown = shown([...tensors.keys()].join(", "));
  checkBundle("tensor-unknown", tensors.size === 0, `unknown tensor ${unknown}`);
  return {
    task: given("task"),
    taskVersion: given("task_version"),
    base: given("base"),
    siteCount,
    metadata,
    values: part.values,
    sites: part.sites,
    labels,
    head,
    sequence: Number(value("sequence") ?? 0),
    text,
    probe,
    vectors,
    decode: () => {
      const { factors, layers } = part.decode();
      return { factors, head: { ...head, layers }, vectors: changes?.decode() ?? [] };
    },
  };
}

function checkVersion(version: string | undefined): void {
  checkBundle("not-a-bundle", version !== undefined, "no key osd.format");
  const found = `format ${shown(version, 20)}, expected ${FORMAT_VERSION}`;
  checkBundle("version", version === FORMAT_VERSION, found);
}

function checkKeys(metadata: ReadonlyMap<string, string>): void {
  for (const key of metadata.keys()) {
    const known = KNOWN_KEYS.includes(key) || key.startsWith(IGNORABLE);
    checkBundle("key-unknown", known, `unknown key ${shown(key)}`);
  }
  for (const key of REQUIRED_KEYS) {
    checkBundle("key-missing", metadata.has(key), `no key ${key}`);
  }
  for (const [key, form] of FORMS) {
    const value = metadata.get(PREFIX + key);
    if (value === undefined) continue;
    // A site count is below 2¹⁶; names and digests are no numbers, or their size says nothing.
    const fits = form.test(value) && (key !== "site_count" || Number(value) < 2 ** 16);
    checkBundle("key-value", fits, `${PREFIX}${key} is ${shown(value)}`);
  }
}

function checkLabels(labels: Json): void {
  const named =
    isList(labels) &&
    labels.every((label) => isString(label) && label !== "") &&
    new Set(labels).size === labels.length;
  checkBundle("labels", named, "expected distinct names");
}

function parse(text: string, key: string): Json {
  try {
    return parseJson(text);
  } catch (error) {
    throw bundleError("key-value", `${PREFIX}${key} is not JSON: ${reasonOf(error)}`);
  }
}
