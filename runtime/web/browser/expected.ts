/** What Python's session answers over the small base, from the fixtures. */

import { readFileSync } from "node:fs";

export const TASKS = ["first", "second", "third"];

const LABELS: Record<string, string[]> = {
  first: ["red", "green", "blue"],
  second: ["yes", "no"],
  third: ["north", "south"],
};

const expected = JSON.parse(
  readFileSync(new URL("../fixtures/expected.json", import.meta.url), "utf8"),
) as { text: string; pair: string | null; logits: Record<string, number[]> }[];

export const TEXTS = [...new Set(expected.map((one) => one.text))] as [string, ...string[]];

/** The label that Python's session gives to a text. */
export function label(task: string, of: string): string {
  const { logits } = expected.find((one) => one.text === of && one.pair === null)!;
  return LABELS[task]![logits[task]!.indexOf(Math.max(...logits[task]!))]!;
}
