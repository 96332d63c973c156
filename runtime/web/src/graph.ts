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

const GRAPH = 7;
const INITIALIZER = 5;
const NAME = 8;
const BYTES = 2; // wire type of what has a length

/** One field: its number, its wire type, where it begins, and where its content does and ends. */
interface Field {
  readonly number: number;
  readonly type: number;
  readonly at: number;
  readonly begin: number;
  readonly end: number;
}

/** `model` without the initializers `names`. Throws BaseError `base.graph`. */
export function requireInputs(model: Uint8Array, names: ReadonlySet<string>): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const field of fields(model)) {
    if (field.number !== GRAPH || field.type !== BYTES) {
      parts.push(model.subarray(field.at, field.end));
      continue;
    }
    const graph = model.subarray(field.begin, field.end);
    const kept = concatenated(
      [...fields(graph)]
        .filter((inner) => !isInitializer(graph, inner, names))
        .map((inner) => graph.subarray(inner.at, inner.end)),
    );
    parts.push(Uint8Array.of(GRAPH * 8 + BYTES, ...varint(kept.length)), kept);
  }
  return concatenated(parts);
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

function isInitializer(graph: Uint8Array, field: Field, names: ReadonlySet<string>): boolean {
  if (field.number !== INITIALIZER || field.type !== BYTES) return false;
  const tensor = graph.subarray(field.begin, field.end);
  for (const { number, type, begin, end } of fields(tensor)) {
    if (number === NAME && type === BYTES) {
      return names.has(decodeUtf8(tensor.subarray(begin, end)) ?? "");
    }
  }
  return false;
}

function* fields(message: Uint8Array): Generator<Field> {
  let at = 0;
  while (at < message.length) {
    const [tag, begin] = readVarint(message, at);
    const type = tag % 8;
    // The messages that are walked here have numbers and things with a length alone.
    const [number, after] = readVarint(message, begin);
    const end = type === BYTES ? after + number : after;
    if (end > message.length || (type !== BYTES && type !== 0)) throw damaged();
    yield { number: Math.floor(tag / 8), type, at, begin: after, end };
    at = end;
  }
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
