/** Windows of texts and where their tokens stand, for several kinds of tokenizer, against Python's. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type BaseManifest, OsdEdgeError, type TextWindow } from "../src/core.js";
import { textEncoder } from "../src/text.js";
import { padded } from "../src/text-encoding.js";
import { fixture } from "./fixtures.js";

interface Expected {
  readonly ids: number[];
  readonly types: number[];
  readonly tokens: ([number, number, number] | null)[];
}

interface Made {
  readonly name: string;
  readonly tokenizer: object;
  readonly cases: {
    readonly text: string;
    readonly question: string | null;
    readonly max_length: number;
    readonly stride: number;
    readonly windows: Expected[];
  }[];
}

const made = JSON.parse(new TextDecoder().decode(fixture("windows.json"))) as Made[];
const manifest = { text: { maxLength: 64, padId: 0 } } as BaseManifest;

/** Words by the order in which they come: their numbers are each tokenizer's own. */
function ranked(words: readonly (number | null)[]): (number | null)[] {
  const order = [...new Set(words.filter((word) => word !== null))];
  return words.map((word) => (word === null ? null : order.indexOf(word)));
}

function shown(window: TextWindow): unknown {
  const places = window.tokens.map((token) => token && [token.start, token.end]);
  const words = ranked(window.tokens.map((token) => token && token.word));
  return { ids: window.ids, types: window.types, places, words };
}

for (const { name, tokenizer, cases } of made) {
  test(`${name}: windows, and where their tokens stand, are Python's`, () => {
    const encoder = textEncoder(JSON.stringify(tokenizer), manifest);
    for (const { text, question, max_length, stride, windows } of cases) {
      const found = encoder.windows!(text, question, { maxLength: max_length, stride });
      const wanted = windows.map(({ ids, types, tokens }) => ({
        ids,
        types,
        places: tokens.map((token) => token && token.slice(0, 2)),
        words: ranked(tokens.map((token) => token && token[2])),
      }));
      assert.deepEqual(found.map(shown), wanted, `${JSON.stringify(text)}, ${question}`);
    }
  });
}

test("a text without any token has one of padding, which counts", () => {
  const row = { ids: [5, 6], types: [0, 0] };
  const { dims, input_ids, attention_mask } = padded([row, { ids: [], types: [] }], 3);
  assert.deepEqual(dims, [2, 2]);
  assert.deepEqual([...(input_ids as Int32Array)], [5, 6, 3, 3]);
  assert.deepEqual([...(attention_mask as Int32Array)], [1, 1, 1, 0]);
});

test("bytes: a byte order mark is part of its text, as in Python", () => {
  const { tokenizer } = made.find(({ name }) => name === "bytes")!;
  const [window] = textEncoder(JSON.stringify(tokenizer), manifest).windows!("h\u00e9\ufeff", null, {});
  assert.deepEqual(window!.ids, [0, 75, 131, 106, 175, 123, 127, 2]);
  const places = window!.tokens.map((token) => token && [token.start, token.end]);
  assert.deepEqual(places, [null, [0, 1], [1, 2], [1, 2], [2, 3], [2, 3], [2, 3], null]);
});

test("windows too small for anything are refused, as are strides that make no sense", () => {
  const encoder = textEncoder(JSON.stringify(made[0]!.tokenizer), manifest);
  const code = (question: string | null, maxLength: number, stride: number): string => {
    try {
      encoder.windows!("the cat sat on the mat", question, { maxLength, stride });
    } catch (error) {
      return (error as OsdEdgeError).code;
    }
    return "";
  };
  assert.equal(code(null, 65, 8), "input.max-length");
  assert.equal(code(null, 0, 8), "input.max-length");
  assert.equal(code(null, 4, 8), "input.max-length");
  assert.equal(code("who sat on the mat, and who did not?", 16, 8), "input.max-length");
  assert.equal(code(null, 32, -1), "input.stride");
  assert.equal(code(null, 32, 8), "");
});
