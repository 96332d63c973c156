/**
 * UTF-8 to text, strictly: by `decodeURIComponent`, which the language itself has. TextDecoder does
 * not check (`fatal`) in every JavaScript engine, and a reader of bundles must refuse what is no
 * UTF-8.
 */

const PIECE = 4096; // bytes that become text at once

/** A text with a character for each byte, its number that of the byte. */
export function characters(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) {
    text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  }
  return text;
}

/** The text in `bytes`; null where they are not valid UTF-8. A byte order mark is kept. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  const escaped = (character: string): string => `%${character.charCodeAt(0).toString(16)}`;
  try {
    return decodeURIComponent(characters(bytes).replace(/[%\x80-\xff]/g, escaped));
  } catch {
    return null;
  }
}
