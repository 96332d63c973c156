/** Sites and head layers of a bundle that is not coded: values, counts, positions and scales. */

import { checkCount, checkSite, type LayerFacts, type Part, type SiteFacts } from "./bundle.js";
import type { Dtype, Tensor } from "./container.js";
import { bundleError } from "./errors.js";
import type { HeadLayer } from "./heads.js";
import { codedBytes, eachPosition } from "./positions.js";
import { elements, numbers, scaled, sum } from "./values.js";

/** One factor as stored: where its non-zeros stand, and their places among all values. */
interface StoredFactor {
  readonly slots: number;
  readonly code: Uint8Array;
  readonly begin: number;
  readonly end: number;
}

type Values = Float32Array | Int8Array;

const VALUES: readonly Dtype[] = ["F32", "F16", "I8"];
const VALUE_NAMES = { F32: "fp32", F16: "fp16", I8: "int8" } as const;

/** Remove and return tensor `name`; what is left in `tensors` at the end is unknown. */
export function take(
  tensors: Map<string, Tensor>,
  name: string,
  dtypes: readonly Dtype[],
  dimensions: number,
): Tensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) {
    throw bundleError("tensor-missing", `no tensor ${name}`);
  }
  tensors.delete(name);
  if (!dtypes.includes(tensor.dtype) || tensor.shape.length !== dimensions) {
    throw bundleError("tensor-type", `${name} is ${tensor.dtype} [${tensor.shape}]`);
  }
  return tensor;
}

/** As `take`, of numbers that must all be finite (`bundle.not-finite`). */
function takeFinite(
  tensors: Map<string, Tensor>,
  name: string,
  dtypes: readonly Dtype[],
  dimensions: number,
): Tensor {
  const tensor = take(tensors, name, dtypes, dimensions);
  checkFinite(name, tensor);
  return tensor;
}

function checkFinite(name: string, tensor: Tensor): void {
  if (!numbers(tensor).every(Number.isFinite)) {
    throw bundleError("not-finite", `NaN or infinity in ${name}`);
  }
}

/** The numbers of a bundle that is not coded, from `tensors`. Throws BundleError. */
export function plainPart(tensors: Map<string, Tensor>, siteCount: number): Part {
  const table = take(tensors, "osd.sites", ["U16"], 2);
  if (table.shape[1] !== 4) {
    throw bundleError("tensor-type", "osd.sites");
  }
  const values = take(tensors, "osd.values", VALUES, 1);
  const sites = siteFacts(elements(table) as Uint16Array, siteCount);
  const slots = sites.flatMap(({ n, d, k }) => [k * n, k * d]);
  let counts: readonly number[] | Uint32Array = slots;
  let stream = new Uint8Array(0);
  if (tensors.has("osd.counts") || tensors.has("osd.positions")) {
    const stored = take(tensors, "osd.counts", ["U32"], 2);
    stream = take(tensors, "osd.positions", ["U8"], 1).bytes as Uint8Array<ArrayBuffer>;
    counts = elements(stored) as Uint32Array;
    const fits = stored.shape[0] === sites.length && stored.shape[1] === 2;
    const over = slots.some((s, i) => (counts[i] as number) > s);
    if (!fits || over || slots.every((s, i) => counts[i] === s)) {
      throw bundleError("counts", "osd.counts");
    }
  }
  const sizes = slots.map((s, i) => codedBytes(s, counts[i] as number));
  const bytes = sum(sizes);
  const count = sum(counts);
  if (bytes !== stream.length || count !== values.shape[0]) {
    throw bundleError("stream-length", `expected ${bytes} bytes and ${count} values`);
  }
  const scales = readScales(tensors, values, sum(sites.map(({ k }) => k)));
  const factors = split(slots, counts, sizes, stream);
  const all = numbers(values);
  for (const factor of factors) checkFactor(factor, all);
  const layers: (() => HeadLayer)[] = [];
  return {
    values: VALUE_NAMES[values.dtype as keyof typeof VALUE_NAMES],
    sites,
    addLayer: (i, facts) => layers.push(readLayer(i, facts, tensors)),
    finish: () => {},
    decode: () => {
      const all = numbers(values);
      const parts = factors.map((factor) => decodeFactor(factor, all));
      let column = 0;
      return {
        factors: sites.map(({ k }, i) => {
          const [u, v] = parts.slice(2 * i) as [Float32Array, Float32Array];
          const scale = scales?.subarray(column, (column += k));
          return { u: scale ? scaled(u, scale) : u, v };
        }),
        layers: layers.map((layer) => layer()),
      };
    },
  };
}

function siteFacts(table: Uint16Array, siteCount: number): SiteFacts[] {
  const rows = table.length / 4;
  checkCount(rows, siteCount);
  let previous = -1;
  return Array.from({ length: rows }, (_, i) => {
    const [site, n, d, k] = table.subarray(4 * i) as unknown as [number, number, number, number];
    const facts = { site, n, d, k };
    checkSite(facts, previous, siteCount);
    previous = site;
    return facts;
  });
}

function readScales(
  tensors: Map<string, Tensor>,
  values: Tensor,
  columns: number,
): Float32Array | null {
  checkFinite("osd.values", values);
  if (values.dtype !== "I8") return null;
  const scales = take(tensors, "osd.scales", ["F32"], 1);
  if (scales.shape[0] !== columns) {
    throw bundleError("stream-length", `${scales.shape[0]} scales for ${columns} columns`);
  }
  checkFinite("osd.scales", scales);
  return elements(scales) as Float32Array;
}

function split(
  slots: readonly number[],
  counts: ArrayLike<number>,
  sizes: readonly number[],
  stream: Uint8Array,
): StoredFactor[] {
  let at = 0;
  let value = 0;
  return slots.map((count, i) => ({
    slots: count,
    code: stream.subarray(at, (at += sizes[i] as number)),
    begin: value,
    end: (value += counts[i] as number),
  }));
}

function checkFactor({ slots, code, begin, end }: StoredFactor, values: Values): void {
  if (end - begin < slots) eachPosition(code, slots, end - begin, () => {});
  if (values.subarray(begin, end).includes(0)) {
    throw bundleError("value-zero", "zero among non-zeros");
  }
}

function decodeFactor({ slots, code, begin, end }: StoredFactor, values: Values): Float32Array {
  const result = new Float32Array(slots);
  eachPosition(code, slots, end - begin, (i, slot) => {
    result[slot] = values[begin + i] as number;
  });
  return result;
}

/** Layer `i` of the head from `tensors`, against its description. Throws BundleError. */
function readLayer(i: number, facts: LayerFacts, tensors: Map<string, Tensor>): () => HeadLayer {
  const prefix = `osd.head.${i}.`;
  const { n, d, rank, activation } = facts;
  const bias = tensors.has(`${prefix}bias`) ? takeFinite(tensors, `${prefix}bias`, ["F32"], 1) : null;
  const first = takeFinite(tensors, prefix + (rank > 0 ? "u" : "weight"), VALUES, 2);
  const scale =
    first.dtype === "I8" ? takeFinite(tensors, `${prefix}scale`, ["F32"], 1) : null;
  if (scale !== null && scale.shape[0] !== first.shape[0]) {
    throw bundleError("head", `${prefix}scale`);
  }
  const v = rank > 0 ? takeFinite(tensors, `${prefix}v`, VALUES, 2) : null;
  const found = [first.shape, v?.shape, v?.dtype, bias?.shape];
  const expected =
    v === null ? [[n, d], v, v] : [[rank, n], [rank, d], first.dtype];
  if (`${found}` !== `${[...expected, bias && [n]]}`) {
    throw bundleError("head", `layer ${i} is malformed`);
  }
  return () => {
    const matrix = scale ? scaled(numbers(first), elements(scale) as Float32Array) : floats(first);
    return {
      n,
      d,
      activation,
      bias: bias && (elements(bias) as Float32Array),
      weight: v ? null : matrix,
      u: v && matrix,
      v: v && floats(v),
    };
  };
}

function floats(tensor: Tensor): Float32Array {
  return Float32Array.from(numbers(tensor));
}
