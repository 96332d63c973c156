/** The manifest of a base package, and whether a bundle fits the base. See docs/base-package.md. */

import type { Bundle } from "./bundle.js";
import { DIGEST } from "./container.js";
import { baseError, checkBundle, reasonOf, shown } from "./errors.js";
import { isList, isObject, isOneOf, isString, isWithin, type Json, type JsonObject, parseJson } from "./json.js";

export const MANIFEST = "manifest.json";
export const MODEL = "model.onnx";
export const WEIGHTS = "model.onnx.data";
export const TOKENIZER = "tokenizer.json";
const TOKEN_INPUTS = ["input_ids", "attention_mask", "token_type_ids"] as const;
export const PIXELS = "pixel_values"; // the one input of a base that takes pictures
const FORMAT_VERSION = 1;

export type Input = (typeof TOKEN_INPUTS)[number] | typeof PIXELS;

/** A linear layer of n outputs and d inputs; `u` and `v` name its factors in the graph, or null. */
export interface Site {
  readonly name: string;
  readonly n: number;
  readonly d: number;
  readonly u: string | null;
  readonly v: string | null;
}

export interface BaseManifest {
  readonly family: string;
  /** Of the original backbone weights; a bundle names its base by it. */
  readonly fingerprint: string;
  readonly hiddenSize: number;
  readonly inputs: readonly Input[];
  readonly hiddenOutput: string;
  readonly poolerOutput: string | null;
  readonly sites: readonly Site[];
  readonly files: ReadonlyMap<string, { readonly bytes: number; readonly sha256: string }>;
  readonly text: { readonly maxLength: number; readonly padId: number } | null;
  /** How pictures are prepared, as it stands in the manifest; null where that is not said. */
  readonly image: JsonObject | null;
  /** The type in which the graph takes factors. */
  readonly factors: "fp32" | "fp16";
}

/** The manifest in `text`, every field of the right type and range. Throws BaseError. */
export function parseManifest(text: string): BaseManifest {
  let fields: Json;
  try {
    fields = parseJson(text);
  } catch {
    throw baseError("manifest", `${MANIFEST} is not JSON`);
  }
  const version = isObject(fields) ? fields.get("format") : undefined;
  if (version !== FORMAT_VERSION) {
    throw baseError(
      "version",
      `${MANIFEST} is not of format ${FORMAT_VERSION}: update osd-edge`,
    );
  }
  try {
    return checked(fields as JsonObject);
  } catch (error) {
    throw baseError("manifest", `${MANIFEST} is malformed (${reasonOf(error)})`);
  }
}

function checked(fields: JsonObject): BaseManifest {
  const text = get(fields, "text", isObjectOrNull);
  const manifest: BaseManifest = {
    family: get(fields, "family", isString),
    fingerprint: get(fields, "fingerprint", isDigest),
    hiddenSize: get(fields, "hidden_size", isCount),
    inputs: get(fields, "inputs", isList).map((name) => as(name, isInput)),
    hiddenOutput: get(fields, "hidden_output", isString),
    poolerOutput: get(fields, "pooler_output", isName),
    sites: get(fields, "sites", isList).map(site),
    files: new Map(
      [...get(fields, "files", isObject)].map(([name, entry]) => {
        check(FILE_NAME.test(name), "files");
        return [name, { bytes: get(entry, "bytes", isCount), sha256: get(entry, "sha256", isDigest) }];
      }),
    ),
    text: text && { maxLength: get(text, "max_length", isCount), padId: get(text, "pad_id", isTokenId) },
    image: as(fields.get("image") ?? null, isObjectOrNull, "image"),
    factors: as(fields.has("factors") ? fields.get("factors") : "fp32", isFactorType, "factors"),
  };
  const { inputs, image } = manifest;
  const names = [...inputs, ...factorNames(manifest)];
  const pictures = inputs.join() === PIXELS;
  const tokens = inputs.includes("input_ids") && inputs.includes("attention_mask");
  const distinct = new Set(names).size === names.length;
  check(distinct && (pictures || (tokens && !inputs.includes(PIXELS))), "inputs");
  check(image === null || pictures, "image");
  return manifest;
}

/** Names of the graph inputs of all factors. */
export function factorNames(manifest: BaseManifest): string[] {
  return manifest.sites.flatMap(({ u, v }) => [u, v]).filter((name) => name !== null);
}

function site(value: Json): Site {
  const u = get(value, "u", isName);
  const v = get(value, "v", isName);
  check((u === null) === (v === null), "one factor");
  return {
    name: get(value, "name", isString),
    n: get(value, "n", isCount),
    d: get(value, "d", isCount),
    u,
    v,
  };
}

const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/; // never a path

type Guard<T extends Json> = (value: Json | undefined) => value is T;

const isName = (value: unknown): value is string | null => value === null || isString(value);
const isObjectOrNull = (value: unknown): value is JsonObject | null => value === null || isObject(value);
const isDigest = (value: unknown): value is string => isString(value) && DIGEST.test(value);
const isInput = isOneOf([...TOKEN_INPUTS, PIXELS]);
const isFactorType = isOneOf(["fp32", "fp16"] as const);
const isCount = isWithin(1, 2 ** 48);
const isTokenId = isWithin(0, 2 ** 31);

/** Throws Error that names `what` unless it `holds`. */
function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

/** `value` where it is what `guard` asks for; throws Error otherwise. */
function as<T extends Json>(value: Json | undefined, guard: Guard<T>, key = "an entry"): T {
  check(guard(value), key);
  return value;
}

function get<T extends Json>(fields: Json, key: string, guard: Guard<T>): T {
  return as(as(fields, isObject).get(key), guard, key);
}

/** Refuse a bundle that was not made for this base: fingerprint, shapes, branches, head. */
export function checkFits(bundle: Bundle, manifest: BaseManifest): void {
  const { base, siteCount, vectors } = bundle;
  const { fingerprint, sites, hiddenSize, poolerOutput } = manifest;
  const { pooling, layers } = bundle.head;
  checkBundle(
    "base",
    base === fingerprint,
    `${bundle.task} is for base ${shown(base, 12)}, this is ${shown(fingerprint, 12)}`,
  );
  const counted = `${siteCount} sites, the base has ${sites.length}`;
  checkBundle("site-mismatch", siteCount === sites.length, counted);
  for (const facts of bundle.sites) {
    const { name, n, d, u } = sites[facts.site] as Site;
    const found = `[${facts.n}, ${facts.d}] at ${shown(name)}, the base has `;
    checkBundle("site-mismatch", n === facts.n && d === facts.d, `${found}[${n}, ${d}]`);
    checkBundle("site-branch", u !== null, `${found}no branch`);
  }
  checkBundle("vector-base", !vectors.length, "the base takes no changes of biases and norms");
  const given = pooling !== "logits" && (pooling !== "pooler" || poolerOutput !== null);
  checkBundle("head-base", given, `the base gives no ${pooling}`);
  const width = layers[0]?.d ?? hiddenSize;
  checkBundle("head-base", width === hiddenSize, `${width} features, the base has ${hiddenSize}`);
}
