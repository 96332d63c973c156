/** The metadata value `osd.head`: kind, pooling, and a description of each layer. */

import type { Bundle, LayerFacts } from "./bundle.js";
import { bundleError, checkBundle, shown } from "./errors.js";
import { type Activation, ACTIVATIONS, type Kind, KINDS, POOLINGS, type TaskKind } from "./heads.js";
import { isList, isObject, isOneOf, isString, isWithin, type Json, valuesOf } from "./json.js";

/** A head whose layers are still in the file. */
export type StoredHead = Bundle["head"] & { readonly normalize: boolean };

const MAX_LAYERS = 16;
const isKind = isOneOf(Object.keys(KINDS) as Kind[]);
const isPooling = isOneOf(POOLINGS);
const isActivation = isOneOf(Object.keys(ACTIVATIONS) as Activation[]);
const isRank = isWithin(0, 2 ** 16);
const isDimension = isWithin(1, 2 ** 16);

/**
 * The head that `description` has; each of its layers is given to `add`, as it comes.
 *
 * Throws BundleError `bundle.head`, `bundle.head-kind`, `bundle.labels`, and what `add` throws.
 */
export function readHead(
  description: Json,
  labels: readonly string[],
  add: (i: number, facts: LayerFacts) => void,
): StoredHead {
  const problem = bundleError("head", "osd.head is malformed");
  if (!isObject(description)) throw problem;
  // Before all else: the head of a later release may have other fields.
  const [kind, pooling] = [description.get("kind"), description.get("pooling")];
  if (!isString(kind) || !isString(pooling)) throw problem;
  const unknown = `unknown: ${shown(kind, 40)} or ${shown(pooling, 40)}`;
  checkBundle("head-kind", isKind(kind) && isPooling(pooling), unknown);
  const { pooling: own, vector, labels: fixed = labels }: TaskKind = KINDS[kind];
  const keys = ["layers", "kind", "pooling", ...(vector ? ["normalize"] : [])];
  const [layers, , , normalize = false] = valuesOf(description, ...keys);
  const bound = /none|logits/.test(pooling) ? pooling : undefined;
  const writes = own === "logits";
  const least = vector || writes ? 0 : 1; // layers: a kind that may do without has no labels
  if (
    !isList(layers) ||
    typeof normalize !== "boolean" ||
    bound !== own ||
    layers.length < least ||
    layers.length > (writes ? 0 : MAX_LAYERS)
  ) {
    throw problem;
  }
  const read = layers.map((layer, i) => {
    const facts = layerFacts(i, layer);
    add(i, facts);
    return facts;
  });
  const fit = read.every(({ d }, i) => i === 0 || d === (read[i - 1] as LayerFacts).n);
  checkBundle("head", fit, "its layers do not fit each other");
  const outputs = least && (read.at(-1) as LayerFacts).n;
  checkBundle(
    "labels",
    outputs === labels.length && JSON.stringify(labels) === JSON.stringify(fixed),
    `${labels.length} labels for ${kind} of ${outputs} outputs`,
  );
  return { kind, pooling, layers: read, normalize };
}

function layerFacts(i: number, description: Json): LayerFacts {
  const problem = bundleError("head", `layer ${i} is malformed`);
  const [shape, rank, activation] = valuesOf(description, "shape", "rank", "activation");
  if (!isList(shape) || shape.length !== 2 || !shape.every(isDimension) || !isRank(rank)) {
    throw problem;
  }
  const [n, d] = shape as [number, number];
  if (activation !== null) {
    if (!isString(activation)) throw problem;
    checkBundle("head-kind", isActivation(activation), `unknown: ${shown(activation, 40)}`);
  }
  return { n, d, rank, activation };
}
