/** As much of very long texts as decides which of their tokens are used; tokenizers read to the end. */

import type { TaskText } from "./task-text.js";

type Count = (text: string) => number; // tokens of a text, without special ones
type Side = TaskText["truncation"];

const LETTERS = 32; // for each token that is used, read of a long text at first

/**
 * A text, or a pair of texts, cut to what decides which `most` tokens of it are used.
 *
 * Of a pair the longer text is cut first, in tokens, and gets an odd one: it stays the longer. Texts
 * of usual length come back as they are, and so do those without blanks.
 */
export function usedTexts(
  text: string,
  pair: string | undefined,
  most: number,
  side: Side,
  count: Count,
): [string, string | undefined] {
  if (Math.max(text.length, pair?.length ?? 0) <= LETTERS * most) return [text, pair];
  if (pair === undefined) return [outermost(text, most, 2 * most, side, count), pair];
  const swapped = text !== pair && count(text) > count(pair);
  const [first, second] = swapped ? [pair, text] : [text, pair];
  const shorter = outermost(first, most, 2 * most, side, count);
  const longer = outermost(second, most, Math.max(2 * most, count(shorter)), side, count);
  return swapped ? [longer, shorter] : [shorter, longer];
}

/**
 * The words at the end of a long text that is kept, of more than `least` tokens; else all of it.
 *
 * Tokens depend on what stands around them, but no farther than their own word, or what has no
 * blank in it: where `least` is twice `most`, the outermost `most` are those of the whole text.
 */
function outermost(text: string, most: number, least: number, side: Side, count: Count): string {
  for (let letters = LETTERS * most; letters < text.length; letters *= 4) {
    // Of a word that is cut through nothing is kept.
    const part =
      side === "left"
        ? /^\S*\s+(\S.*)$/s.exec(text.slice(-letters))
        : /^(.*\S)\s+\S*$/s.exec(text.slice(0, letters));
    const kept = part?.[1];
    if (kept !== undefined && count(kept) > least) return kept;
  }
  return text;
}
