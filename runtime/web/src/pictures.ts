/** Pictures in the place of text: what a base that takes `pixel_values` is fed. */

import { BaseError, baseError, inputError } from "./errors.js";
import type { PixelInputs } from "./inputs.js";
import { Decimal, isList, isWithin, type Json, type JsonObject } from "./json.js";
import type { BaseManifest } from "./manifest.js";

/** A picture, row by row; `ImageData` of a canvas is one. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** How a picture becomes pixel values: (value · `scale` − `mean`) / `std`, by channel. */
interface ImageSettings {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly scale: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/**
 * Inputs for a run from pictures.
 *
 * Throws BaseError `base.image` where the base takes none, or does not say how, `base.manifest`
 * where what it says is malformed; InputError `input.shape`.
 */
export function normalisedPixels(
  manifest: BaseManifest,
  pictures: readonly Picture[],
): PixelInputs {
  const image = settings(manifest.image);
  if (pictures.length === 0) throw inputError("shape", "expected one or more pictures");
  const { height, width, channels, scale } = image;
  const size = height * width;
  const pixel_values = new Float32Array(pictures.length * channels * size);
  pictures.forEach((picture, i) => {
    const step = stepOf(picture, image);
    for (let channel = 0; channel < channels; channel++) {
      const [mean, std] = [image.mean[channel] as number, image.std[channel] as number];
      const at = (i * channels + channel) * size;
      for (let j = 0; j < size; j++) {
        const value = picture.data[j * step + channel] as number;
        pixel_values[at + j] = (value * scale - mean) / std;
      }
    }
  });
  return { dims: [pictures.length, channels, height, width], pixel_values };
}

function settings(fields: JsonObject | null): ImageSettings {
  if (fields === null) {
    throw new BaseError("base.image", "this base package does not say how pictures are prepared");
  }
  const [height, width, channels] = ["height", "width", "channels"].map((key) => fields.get(key));
  const list = (key: string): number[] => {
    const values = fields.get(key);
    return isList(values) ? values.map(number) : [];
  };
  const [scale, mean, std] = [number(fields.get("scale")), list("mean"), list("std")];
  const sizes = [height, width, channels].every(isWithin(1, 2 ** 48));
  const each = mean.length === channels && std.length === channels && !std.includes(0);
  if (!sizes || !each || [scale, ...mean, ...std].some((x) => !(Math.abs(x) < 1e6))) {
    throw baseError("manifest", "what it says of pictures is malformed");
  }
  return { height, width, channels, scale, mean, std } as ImageSettings;
}

function number(value: Json | undefined): number {
  const found = value instanceof Decimal ? value.value : value;
  return typeof found === "number" ? found : Number.NaN;
}

/** Bytes from a picture's pixel to the next. Throws InputError `input.shape`. */
function stepOf(picture: Picture, { height, width, channels }: ImageSettings): number {
  const step = picture.data.length / (width * height);
  const fits = step === channels || (step === 4 && channels === 3);
  if (!fits || picture.width !== width || picture.height !== height) {
    throw inputError(
      "shape",
      `expected ${width} × ${height} with ${channels} channels, found ${picture.width} × ` +
        `${picture.height} of ${picture.data.length} bytes`,
    );
  }
  return step;
}
