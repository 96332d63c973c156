/** Bytes in whatever form they come: `fetch` and a browser's files give an ArrayBuffer. */

type View = ArrayBufferView<ArrayBuffer>;

export type Bytes = ArrayBuffer | ArrayBufferView;

/** Whether `given` is bytes, of another window or thread too, and not where they are. */
export function isBytes(given: Bytes | string | URL): given is Bytes {
  return (given as Partial<Bytes>).byteLength !== undefined;
}

/** A view of the bytes. Of Node's Buffer too, whose own slices are views, where others copy. */
export function bytesOf(data: Bytes): Uint8Array {
  const { buffer, byteOffset } = data as View;
  return new Uint8Array(buffer ?? data, byteOffset, data.byteLength);
}
