/**
 * Makes the factors of a base graph inputs that must be fed.
 *
 * In model.onnx they are optional: inputs with empty defaults, which are initializers of the same
 * name. onnxruntime for JavaScript cannot feed such inputs (the browser's refuses them, Node's
 * passes them over in silence), so the defaults are left out of the graph when it is opened, and a
 * session without a task feeds empty factors instead. This walks protobuf's wire format (field
 * numbers from onnx.proto): ModelProto.graph = 7, GraphProto.initializer = 5, TensorProto.name = 8.
 */

import { baseError } from "./errors.js";
import { decodeUtf8 } from "./utf8.js";
import { sum } from "./values.js";

// Tags of fields: their number · 8, and 2, the wire type of what has a length.
const GRAPH = 7 * 8 + 2;
const INITIALIZER = 5 * 8 + 2;
const NAME = 8 * 8 + 2;

/** A message's part: the tag of a field, the field as a whole, and its content. */
type Field = readonly [tag: number, whole: Uint8Array, content: Uint8Array];

/** `model` without the initializers `names`. Throws BaseError `base.graph`. */
export function requireInputs(model: Uint8Array, names: ReadonlySet<string>): Uint8Array {
  const named = ([tag, , content]: Field): boolean =>
    tag === NAME && names.has(decodeUtf8(content) ?? "");
  const parts = fields(model).flatMap(([tag, whole, content]) => {
    if (tag !== GRAPH) return [whole];
    const kept = fields(content)
      .filter(([inner, , part]) => inner !== INITIALIZER || !fields(part).some(named))
      .map(([, part]) => part);
    return [Uint8Array.of(GRAPH, ...varintBytes(bytesOf(kept))), ...kept];
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
  let at = 0;
  const damaged = (): Error => baseError("graph", "model.onnx is damaged");
  // Numbers above 2⁵³ are no lengths of ours.
  const varint = (): number => {
    let number = 0;
    for (let i = 0; i < 10 && at < message.length; i++) {
      const byte = message[at++] as number;
      number += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return number;
    }
    throw damaged();
  };
  while (at < message.length) {
    const begin = at;
    const tag = varint();
    const number = varint();
    const after = at;
    // The messages that are walked here have numbers and things with a length alone.
    if (tag % 8 === 2) at += number;
    if (at > message.length || ![0, 2].includes(tag % 8)) throw damaged();
    result.push([tag, message.subarray(begin, at), message.subarray(after, at)]);
  }
  return result;
}

function varintBytes(number: number): number[] {
  const bytes: number[] = [];
  for (; number >= 128; number = Math.floor(number / 128)) bytes.push((number % 128) + 128);
  return [...bytes, number];
}
