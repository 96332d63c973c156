/**
 * Makes the factors of a base graph inputs that must be fed.
 *
 * In model.onnx they are optional: inputs with empty defaults, which are initializers of the same
 * name. onnxruntime for JavaScript cannot feed such inputs (the browser's refuses them, Node's
 * passes them over in silence), so the defaults are left out of the graph when it is opened, and a
 * session without a task feeds empty factors instead. This walks protobuf's wire format (field
 * numbers from onnx.proto): ModelProto.graph = 7, GraphProto.initializer = 5, TensorProto.name = 8.
 */

import { type BaseError, baseError } from "./errors.js";
import { decodeUtf8 } from "./utf8.js";
import { sum } from "./values.js";

// Tags of fields: their number, and the wire type of what has a length.
const BYTES = 2;
const GRAPH = 7 * 8 + BYTES;
const INITIALIZER = 5 * 8 + BYTES;
const NAME = 8 * 8 + BYTES;

/** A message's part: a field as a whole, its tag, and its content. */
interface Field {
  readonly tag: number;
  readonly whole: Uint8Array;
  readonly content: Uint8Array;
}

/** `model` without the initializers `names`. Throws BaseError `base.graph`. */
export function requireInputs(model: Uint8Array, names: ReadonlySet<string>): Uint8Array {
  const named = ({ tag, content }: Field): boolean =>
    tag === NAME && names.has(decodeUtf8(content) ?? "");
  const parts = fields(model).flatMap(({ tag, whole, content }) => {
    if (tag !== GRAPH) return [whole];
    const kept = fields(content)
      .filter((field) => field.tag !== INITIALIZER || !fields(field.content).some(named))
      .map((field) => field.whole);
    return [Uint8Array.of(GRAPH, ...varint(bytesOf(kept))), ...kept];
  });
  const result = new Uint8Array(bytesOf(parts));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

function bytesOf(parts: readonly Uint8Array[]): number {
  return sum(parts.map((part) => part.length));
}

function fields(message: Uint8Array): Field[] {
  const result: Field[] = [];
  for (let at = 0; at < message.length; ) {
    const [tag, begin] = readVarint(message, at);
    const type = tag % 8;
    // The messages that are walked here have numbers and things with a length alone.
    const [number, after] = readVarint(message, begin);
    const end = type === BYTES ? after + number : after;
    if (end > message.length || (type !== BYTES && type !== 0)) throw damaged();
    result.push({ tag, whole: message.subarray(at, end), content: message.subarray(after, end) });
    at = end;
  }
  return result;
}

/** The number at `at`, and the place after it. Numbers above 2⁵³ are no lengths of ours. */
function readVarint(message: Uint8Array, at: number): [number, number] {
  let number = 0;
  for (let i = 0; i < 10; i++) {
    const byte = message[at + i];
    if (byte === undefined) throw damaged();
    number += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return [number, at + i + 1];
  }
  throw damaged();
}

function varint(number: number): number[] {
  const bytes: number[] = [];
  for (; number >= 128; number = Math.floor(number / 128)) bytes.push((number % 128) + 128);
  return [...bytes, number];
}

function damaged(): BaseError {
  return baseError("graph", "model.onnx is damaged");
}
