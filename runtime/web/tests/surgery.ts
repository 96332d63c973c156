/** Bundles that are changed where a writer of ours would not, with a digest that is right. */

import { createHash } from "node:crypto";

const DIGEST = '"osd.sha256":"';

/** `data` with its digest made right, so that a mutation is not caught by it alone. */
export function resigned(data: Uint8Array): Uint8Array {
  const text = Buffer.from(data);
  const key = text.indexOf(DIGEST);
  if (key < 0 || key + 78 > text.length) return data;
  const place = key + DIGEST.length;
  text.fill("0", place, place + 64);
  text.write(createHash("sha256").update(text).digest("hex"), place, "latin1");
  return new Uint8Array(text);
}

/** A bundle of `header`, whose metadata has the digest's key, and of what follows it. */
export function sealed(header: Record<string, unknown>, body: Uint8Array): Uint8Array {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeUInt32LE(text.length);
  return resigned(Buffer.concat([length, text, body]));
}

/** The keys of a bundle's metadata, beside the bundle itself. */
export function metadataOf(data: Uint8Array): { keys: Record<string, string>; data: Uint8Array } {
  return { keys: headerOf(data).__metadata__, data };
}

/** `data` with other or more keys in its metadata. */
export function withKeys(data: Uint8Array, keys: Record<string, string>): Uint8Array {
  const header = headerOf(data);
  Object.assign(header.__metadata__, keys);
  return sealed(header, data.subarray(endOfHeader(data)));
}

function endOfHeader(data: Uint8Array): number {
  return 8 + new DataView(data.buffer, data.byteOffset).getUint32(0, true);
}

function headerOf(data: Uint8Array): { __metadata__: Record<string, string> } {
  const text = Buffer.from(data.subarray(8, endOfHeader(data))).toString();
  return JSON.parse(text) as { __metadata__: Record<string, string> };
}
