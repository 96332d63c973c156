/** What a run is given, checked before onnxruntime sees it. */

import type { Tensor } from "onnxruntime-web";
import { inputError, shown } from "./errors.js";
import { type BaseManifest, type Input, PIXELS } from "./manifest.js";
import type { Tensors } from "./task.js";

/** Token inputs `[batch, tokens]`, flat; the mask defaults to ones, the types to zeros. */
export interface TokenInputs {
  readonly dims: readonly [number, number];
  readonly input_ids: ArrayLike<number | bigint>;
  readonly attention_mask?: ArrayLike<number | bigint>;
  readonly token_type_ids?: ArrayLike<number | bigint>;
}

/** Pictures for a base that takes them, `[batch, channels, height, width]`, flat. */
export interface PixelInputs {
  readonly dims: readonly [number, number, number, number];
  readonly pixel_values: Float32Array;
}

export type RunInputs = TokenInputs | PixelInputs;

/**
 * What the base is fed: int64 tensors `[batch, tokens]`, defaults filled in, or float32 pixels.
 *
 * Throws InputError `input.names`, `input.shape`.
 */
export function baseInputs(
  manifest: BaseManifest,
  inputs: RunInputs,
  ort: Tensors,
): Partial<Record<Input, Tensor>> {
  const { dims } = inputs;
  const size = dims.reduce((product, x) => product * x, 1);
  const [main] = manifest.inputs as [Input];
  const pixels = main === PIXELS;
  const given = inputs as Partial<Record<Input, ArrayLike<number | bigint>>>;
  if (!given[pixels ? main : "input_ids"]) {
    throw inputError("names", `expected ${manifest.inputs}`);
  }
  if (dims.length !== (pixels ? 4 : 2) || !dims.every((x) => Number.isInteger(x) && x > 0)) {
    throw inputError("shape", `dims are [${dims}]`);
  }
  const tensors: Partial<Record<Input, Tensor>> = {};
  for (const name of manifest.inputs) {
    const values = given[name];
    if (values && values.length !== size) {
      throw inputError(
        "shape",
        `${name}: expected [${dims}], found ${values.length} numbers`,
      );
    }
    tensors[name] = pixels
      ? new ort.Tensor("float32", finite(values as Float32Array), dims)
      : new ort.Tensor("int64", tokenIds(name, values, size), dims);
  }
  return tensors;
}

function tokenIds(
  name: string,
  values: ArrayLike<number | bigint> | undefined,
  size: number,
): BigInt64Array {
  const ids = new BigInt64Array(size).fill(name === "attention_mask" ? 1n : 0n);
  for (let i = 0; values && i < size; i++) {
    const number = Number(values[i]);
    if (!Number.isInteger(number) || number < 0 || number >= 2 ** 31) {
      throw inputError("shape", `${name} holds ${shown(String(values[i]))}, no token id`);
    }
    ids[i] = BigInt(number);
  }
  return ids;
}

function finite(pixels: Float32Array): Float32Array {
  if (!pixels.every(isFinite)) throw inputError("shape", `${PIXELS} holds NaN or infinity`);
  return pixels;
}
