/**
 * Which character of a text each character of its normalised form comes from.
 *
 * A normaliser is known by what it gives alone: what a longer beginning of the text adds to the
 * result comes from the characters that were added. Long texts go word by word, where that gives
 * the same.
 */

type Normaliser = (text: string) => string;

/** A normalised text; character i comes from characters `starts[i]` to `ends[i]` of the text. */
export interface Normalised {
  readonly text: string;
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

// An end that no normaliser changes or joins to what is before it, so that a space at the end of a
// beginning counts although a normaliser may cut spaces at the end of a text.
const GUARD = "x";

/** `text` through `normalise`, null for one that changes nothing. */
export function normalised(text: string, normalise: Normaliser | null): Normalised {
  const starts: number[] = [];
  const ends: number[] = [];
  const guarded = (part: string): string => (normalise as Normaliser)(part + GUARD).slice(0, -1);
  const place = (part: string, from: number): void => {
    let at = 0;
    let before = 0;
    let afterSpace = false;
    for (const character of part) {
      const start = from + at;
      at += character.length;
      const after = normalise === null ? at : guarded(part.slice(0, at)).length;
      const space = character.trim() === "";
      if (space && afterSpace && before > 0 && after === before) {
        // Of spaces that become one it is the last that stays.
        starts[starts.length - 1] = start;
        ends[ends.length - 1] = from + at;
      }
      afterSpace = space;
      for (; before < after; before++) {
        starts.push(start);
        ends.push(from + at);
      }
    }
  };
  if (normalise === null) {
    place(text, 0);
    return { text, starts, ends };
  }
  const words = text.match(/^\s*\S*\s*|\S+\s*/gu) ?? [];
  if (words.map(guarded).join("") === guarded(text)) {
    let from = 0;
    for (const word of words) {
      place(word, from);
      from += word.length;
    }
  } else {
    place(text, 0);
  }
  return { text: normalise(text), starts, ends };
}
