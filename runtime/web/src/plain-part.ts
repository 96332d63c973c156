/** Sites and head layers of a bundle that is not coded: values, counts, positions and scales. */

import {
  checkCount,
  checkIndex,
  checkRank,
  headLayer,
  type LayerFacts,
  matrices,
  type Part,
  type SiteFacts,
} from "./bundle.js";
import type { Tensor } from "./container.js";
import { checkBundle } from "./errors.js";
import type { HeadLayer } from "./heads.js";
import { codedBytes, eachPosition } from "./positions.js";
import { elements, numbers, scaled, sum } from "./values.js";

type Tensors = Map<string, Tensor>;

const VALUES = "F32 F16 I8";
const VALUE_NAMES = { F32: "fp32", F16: "fp16", I8: "int8" } as const;
const MAX_FLOAT = 1e39; // beyond any of float32
const MAX_SCALE = 2 ** 64; // as of coded integers, so that no product is infinite

/**
 * Remove and return tensor `name`, of one of the types `dtypes`; what is left in `tensors` at the
 * end is unknown.
 */
export function take(tensors: Tensors, name: string, dtypes: string, dimensions = 1): Tensor {
  const tensor = tensors.get(name);
  checkBundle("tensor-missing", tensor !== undefined, `no tensor ${name}`);
  tensors.delete(name);
  const { dtype, shape } = tensor;
  const fits = dtypes.includes(dtype) && shape.length === dimensions;
  checkBundle("tensor-type", fits, `${name} is ${dtype} [${shape}]`);
  return tensor;
}

/** Refuse (`bundle.not-finite`) NaN, and numbers beyond `most` in magnitude; returns `tensor`. */
function checked(name: string, tensor: Tensor, most = MAX_FLOAT): Tensor {
  const found = `NaN, infinity or a scale beyond 2^64 in ${name}`;
  for (const x of numbers(tensor)) checkBundle("not-finite", Math.abs(x) <= most, found);
  return tensor;
}

/** The numbers of a bundle that is not coded, from `tensors`. Throws BundleError. */
export function plainPart(tensors: Tensors, siteCount: number): Part {
  const table = take(tensors, "osd.sites", "U16", 2);
  checkBundle("tensor-type", table.shape[1] === 4, "osd.sites");
  const values = take(tensors, "osd.values", VALUES);
  const sites = siteFacts(elements(table) as Uint16Array, siteCount);
  const slots = sites.flatMap(matrices).map(([rows, width]) => rows * width);
  let counts: readonly number[] | Uint32Array = slots;
  let stream = new Uint8Array(0);
  if (tensors.has("osd.counts") || tensors.has("osd.positions")) {
    const stored = take(tensors, "osd.counts", "U32", 2);
    stream = take(tensors, "osd.positions", "U8").bytes as Uint8Array<ArrayBuffer>;
    counts = elements(stored) as Uint32Array;
    const fits =
      `${stored.shape}` === `${[sites.length, 2]}` &&
      slots.every((s, i) => (counts[i] as number) <= s) &&
      slots.some((s, i) => counts[i] !== s);
    checkBundle("counts", fits, "osd.counts");
  }
  const sizes = slots.map((s, i) => codedBytes(s, counts[i] as number));
  const bytes = sum(sizes);
  const count = sum(counts);
  const fits = bytes === stream.length && count === values.shape[0];
  checkBundle("stream-length", fits, `expected ${bytes} bytes and ${count} values`);
  checked("osd.values", values);
  const scales = readScales(tensors, values, sum(sites.map(({ k }) => k)));

  /** What `make` gives of every factor's values and positions, and its number of slots. */
  const eachFactor = <T>(
    make: (
      values: Float32Array | Int8Array,
      each: (visit: (index: number, slot: number) => void) => void,
      slots: number,
    ) => T,
  ): T[] => {
    const all = numbers(values);
    let at = 0;
    let value = 0;
    return slots.map((size, i) => {
      const code = stream.subarray(at, (at += sizes[i] as number));
      const own = all.subarray(value, (value += counts[i] as number));
      return make(own, (visit) => eachPosition(code, size, own.length, visit), size);
    });
  };
  eachFactor((values, each, size) => {
    if (values.length < size) each(() => {});
    checkBundle("value-zero", !values.includes(0), "zero among non-zeros");
  });
  const layers: (() => HeadLayer)[] = [];
  return {
    values: VALUE_NAMES[values.dtype as keyof typeof VALUE_NAMES],
    sites,
    addLayer: (i, facts) => layers.push(readLayer(i, facts, tensors)),
    finish: () => {},
    decode: () => {
      const parts = eachFactor((values, each, size) => {
        const result = new Float32Array(size);
        each((i, slot) => {
          result[slot] = values[i] as number;
        });
        return result;
      });
      let column = 0;
      return {
        factors: sites.map(({ k }, i) => {
          const [u, v] = parts.slice(2 * i) as [Float32Array, Float32Array];
          if (scales) scaled(u, scales.subarray(column, (column += k)), u);
          return { u, v };
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
    checkIndex(site, previous, siteCount);
    checkRank(facts);
    previous = site;
    return facts;
  });
}

function readScales(tensors: Tensors, values: Tensor, columns: number): Float32Array | null {
  if (values.dtype !== "I8") return null;
  const scales = take(tensors, "osd.scales", "F32");
  const [found] = scales.shape;
  checkBundle("stream-length", found === columns, `${found} scales for ${columns} columns`);
  return elements(checked("osd.scales", scales, MAX_SCALE)) as Float32Array;
}

/** Layer `i` of the head from `tensors`, against its description. Throws BundleError. */
function readLayer(i: number, facts: LayerFacts, tensors: Tensors): () => HeadLayer {
  const { n, rank } = facts;
  const read = (part: string, dtypes: string, dimensions?: number, most?: number) => {
    const name = `osd.head.${i}.${part}`;
    return checked(name, take(tensors, name, dtypes, dimensions), most);
  };
  const bias = tensors.has(`osd.head.${i}.bias`) ? read("bias", "F32") : null;
  const first = read(rank > 0 ? "u" : "weight", VALUES, 2);
  const scale = first.dtype === "I8" ? read("scale", "F32", 1, MAX_SCALE) : null;
  const check = (holds: boolean): void => checkBundle("head", holds, `layer ${i} is malformed`);
  check(scale === null || scale.shape[0] === first.shape[0]);
  const v = rank > 0 ? read("v", VALUES, 2) : null;
  const found = v ? [first.shape, v.shape, v.dtype] : [first.shape];
  const expected = v ? [...matrices(facts), first.dtype] : matrices(facts);
  check(`${[found, bias?.shape]}` === `${[expected, bias && n]}`);
  return () =>
    headLayer(
      facts,
      scale ? scaled(numbers(first), elements(scale) as Float32Array) : floats(first),
      v && floats(v),
      bias && floats(bias),
    );
}

function floats(tensor: Tensor): Float32Array {
  return Float32Array.from(numbers(tensor));
}
