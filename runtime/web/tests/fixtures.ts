/** Bases, bundles and Python's answers, as tests/web/fixtures.py of the repository writes them. */

import { readFileSync } from "node:fs";

export interface Expected {
  text: string;
  pair: string | null;
  ids: number[];
  types: number[];
  first_hidden: number[];
  logits: Record<string, number[]>;
}

export const FIXTURES = new URL("../fixtures/", import.meta.url);

export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(name, FIXTURES)));
}

export function expected(): Expected[] {
  return JSON.parse(new TextDecoder().decode(fixture("expected.json"))) as Expected[];
}

export const TASKS = ["first", "second", "third"];
