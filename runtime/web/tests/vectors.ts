/** The test vectors that readers in every language share: `vectors/v1` of the repository. */

import { readFileSync } from "node:fs";

export interface LayerExpected {
  shape: [number, number];
  rank: number;
  activation: string | null;
  weight?: string;
  u?: string;
  v?: string;
  bias?: string;
}

export interface Case {
  id: string;
  file: string;
  comment: string;
  flags: string[];
  result: "valid" | "invalid";
  code?: string;
  expected?: Record<string, unknown> & {
    sites: { site: number; n: number; d: number; k: number; u: string; v: string }[];
    head: { kind: string; pooling: string; layers: LayerExpected[] };
    sequence?: number;
    text?: Record<string, unknown>;
    probe?: { tolerance: number; cases: Record<string, unknown>[] };
    vectors?: { vector: number; n: number; values: string }[];
  };
  run?: {
    hidden: number[][][];
    mask: number[][];
    pooled: number[][] | null;
    logits: (number | number[])[][];
  };
}

export const ROOT = new URL("../../../../", import.meta.url);
const FOLDER = new URL("vectors/v1/", ROOT);
const index = JSON.parse(readFileSync(new URL("index.json", FOLDER), "utf8")) as {
  tolerance: number;
  cases: Case[];
};

export const tolerance = index.tolerance;
export const cases = index.cases;
export const manifestText = readFileSync(new URL("base/manifest.json", FOLDER), "utf8");

export function dataOf(vector: Case): Uint8Array {
  return new Uint8Array(readFileSync(new URL(vector.file, FOLDER)));
}
