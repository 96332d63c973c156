/**
 * UTF-8 to text, strictly. Written out, since TextDecoder does not check (`fatal`) in every
 * JavaScript engine, and a reader of bundles must refuse what is no UTF-8.
 */

const SHORTEST = [0, 0x80, 0x800, 0x10000]; // the first code point that needs this many more bytes

/** The text in `bytes`; null where they are not valid UTF-8. A byte order mark is kept. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  const parts: string[] = [];
  let units: number[] = [];
  for (let i = 0; i < bytes.length; ) {
    const first = bytes[i++] as number;
    let point = first;
    if (first >= 0x80) {
      const more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
      if (first < 0xc2 || first > 0xf4) return null;
      point = first & (0x3f >> more);
      for (let j = 0; j < more; j++) {
        const byte = bytes[i++];
        if (byte === undefined || (byte & 0xc0) !== 0x80) return null;
        point = (point << 6) | (byte & 0x3f);
      }
      const surrogate = point >= 0xd800 && point < 0xe000;
      if (point < (SHORTEST[more] as number) || point > 0x10ffff || surrogate) return null;
    }
    if (point >= 0x10000) {
      units.push(0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff));
    } else {
      units.push(point);
    }
    if (units.length > 4096) {
      parts.push(String.fromCharCode(...units));
      units = [];
    }
  }
  parts.push(String.fromCharCode(...units));
  return parts.join("");
}
