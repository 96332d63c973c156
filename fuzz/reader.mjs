// Reads inputs with the JavaScript reader, for fuzz/javascript.py: a batch in, a batch of answers
// out. A batch is the number of its inputs, then each as kind, length and bytes; answers are lines.

import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { readSync, writeSync } from "node:fs";

const [, , core, manifestText, slotsPerByte] = process.argv;
const { readBundle, checkFits, parseManifest, BaseError, OsdEdgeError } = await import(core);
const manifest = parseManifest(manifestText);
const KINDS = { 1: bundle, 2: base };

function taken(length) {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const count = readSync(0, bytes, at, length - at, null);
    if (count === 0) process.exit(0);
    at += count;
  }
  return bytes;
}

function number() {
  const bytes = taken(4);
  return new DataView(bytes.buffer).getUint32(0, true);
}

function told(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}

function hash(values) {
  if (values === null) return null;
  if (!(values instanceof Float32Array)) throw new Error("decoded to another type");
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}

function bundle(data) {
  const found = readBundle(data);
  let slots = 0;
  for (const { n, d, k } of found.sites) slots += k * (n + d);
  for (const { n, d, rank } of found.head.layers) slots += rank * (n + d) || n * d;
  for (const { n } of found.vectors) slots += n;
  if (slots > slotsPerByte * data.length) throw new Error("more slots than a file may hold");
  const { factors, head, vectors } = found.decode();
  const decoded = factors.map(({ u, v }) => [hash(u), hash(v)]);
  for (const { weight, u, v, bias } of head.layers) {
    decoded.push([weight, u, v, bias].map((values) => hash(values ?? null)));
  }
  found.vectors.forEach(({ vector }, i) => decoded.push([vector, hash(vectors[i])]));
  let fits = "accepted";
  try {
    checkFits(found, manifest);
  } catch (error) {
    if (!(error instanceof OsdEdgeError)) throw error;
    fits = error.code;
  }
  const { kind, pooling, layers } = found.head;
  return {
    task: found.task,
    version: found.taskVersion,
    labels: found.labels,
    base: found.base,
    values: found.values,
    count: found.siteCount,
    sites: found.sites.map(({ site, n, d, k }) => [site, n, d, k]),
    head: [kind, pooling, head.normalize ?? false],
    layers: layers.map(({ n, d, rank, activation }) => [n, d, rank, activation]),
    decoded,
    sequence: found.sequence,
    text: found.text,
    probe: found.probe,
    fits,
  };
}

function base(data) {
  if (!isUtf8(data)) throw new BaseError("base.manifest", "not UTF-8"); // whoever calls decodes it
  const found = parseManifest(new TextDecoder("utf-8", { ignoreBOM: true }).decode(data));
  const { family, fingerprint, hiddenSize, inputs, hiddenOutput, poolerOutput, sites, text } = found;
  return {
    names: [family, fingerprint, hiddenOutput, poolerOutput, found.factors],
    size: hiddenSize,
    inputs,
    sites: sites.map(({ name, n, d, u, v }) => [name, n, d, u, v]),
    files: [...found.files].map(([name, { bytes, sha256 }]) => [name, bytes, sha256]),
    text: text === null ? null : [text.maxLength, text.padId],
  };
}

for (;;) {
  const count = number();
  let answers = "";
  for (let i = 0; i < count; i++) {
    const kind = KINDS[taken(1)[0]];
    const data = taken(number());
    let answer;
    const begin = performance.now();
    try {
      answer = { facts: kind(data) };
    } catch (error) {
      answer =
        error instanceof OsdEdgeError
          ? { code: error.code, message: error.message }
          : { crash: String(error?.stack ?? error) };
    }
    answer.seconds = (performance.now() - begin) / 1000;
    answers += `${JSON.stringify(answer)}\n`;
  }
  told(answers);
}
