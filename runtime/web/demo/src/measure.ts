/** The measurement of this browser, as a report in the schema `osd-edge-bench/1`. */

import type { DecodedTask, EdgeSession, RunInputs } from "../../src/core.js";

export interface Settings {
  readonly rounds: number;
  readonly threads: number;
  readonly memory: number | null;
  readonly base: { readonly name: string; readonly bytes: number };
  /** The bytes of a task's file, null where it was removed meanwhile. */
  readTask(name: string): Promise<Uint8Array | null>;
  /** Called with the share that is done, 0 to 1. */
  progress(share: number): void;
}

const TOKENS = 32;
const WARM_UP = 3;
const COLD_SWAPS = 10;
const WARM_SWAPS = 1000;

interface Spread {
  n: number;
  min: number;
  p10: number;
  p50: number;
  p90: number;
  p95: number;
  p99: number;
}

interface Part {
  figures: Record<string, number | Spread | null>;
  missing: Record<string, { why: "not_available"; reason: string }>;
}

const NONE: Part = { figures: {}, missing: {} };

/** Latency with no task and with each, swaps cold and warm, memory; the active task stays. */
export async function measure(session: EdgeSession, settings: Settings): Promise<unknown> {
  const { active } = session;
  const spare = spareName(session.tasks);
  try {
    return await measured(session, settings, spare);
  } finally {
    // After a failure too: the page goes on with what was there before.
    if (session.tasks.includes(spare)) session.unload(spare);
    if (active === null) session.deactivate();
    else session.activate(active);
  }
}

async function measured(session: EdgeSession, settings: Settings, spare: string): Promise<unknown> {
  const created = new Date().toISOString();
  const active = session.active;
  const files = new Map<string, Uint8Array>();
  for (const task of session.tasks) {
    const bytes = await settings.readTask(task);
    if (bytes !== null) files.set(task, bytes);
  }
  const tasks = [...files.keys()];
  const inputs = sampleInputs(session);
  const steps = settings.rounds + WARM_UP + tasks.length;
  let step = 0;
  const latency = new Map<string | null, number[]>([null, ...tasks].map((task) => [task, []]));
  for (let round = -WARM_UP; round < settings.rounds; round++) {
    // Every round visits all, each time in another order: a slow second slows both sides.
    for (const task of shuffled([...latency.keys()])) {
      const start = performance.now();
      await session.run(inputs, { task });
      if (round >= 0) latency.get(task)?.push(performance.now() - start);
    }
    settings.progress(++step / steps);
  }
  const base = latency.get(null) as number[];
  const taskRows = tasks.map((task) => {
    const samples = latency.get(task) as number[];
    const ratios = samples.map((sample, i) => sample / (base[i] as number));
    return row({ task }, { latency_ms: spread(samples), to_base_ratio: spread(ratios) });
  });
  const swapRows = [];
  const facts = [];
  for (const [task, bytes] of files) {
    const swap = measureSwap(session, task, bytes, spare);
    facts.push({ task, file_bytes: bytes.length, decoded_bytes: swap.decodedBytes });
    swapRows.push(row({ task }, swap.figures));
    settings.progress(++step / steps);
  }
  const memory: Part =
    settings.memory === null
      ? {
          figures: { page_bytes: null },
          missing: { page_bytes: { why: "not_available", reason: "this browser does not tell" } },
        }
      : { figures: { page_bytes: settings.memory }, missing: {} };
  return {
    schema: "osd-edge-bench/1",
    created,
    tool: { name: "osd-edge", version: VERSION },
    verdict: { status: "passed", line: `PASSED: ${tasks.length} tasks measured in a browser` },
    refused: null,
    machine: machine(),
    plan: {
      tokens: TOKENS,
      batch: 1,
      threads: settings.threads,
      runs: settings.rounds,
      seconds: 0,
      withhold_latency: null,
    },
    base: {
      name: settings.base.name,
      family: session.manifest.family,
      fingerprint: session.manifest.fingerprint,
      file_bytes: settings.base.bytes,
    },
    tasks: facts,
    conformance: { status: "not_run", cases: 0, failures: [] },
    scenarios: [
      scenario("base", "no task", { latency_ms: spread(base) }, [], active === null ? memory : NONE),
      scenario("task", "one task active", {}, taskRows, active === null ? NONE : memory),
      scenario("swap", "a swap, cold from its file's bytes and warm", {}, swapRows),
    ],
    conditions: { figures: {}, missing: {} },
    noise: { figures: {}, missing: {} },
    notes: [
      "A browser rounds its clock: a warm swap is the mean of many.",
      "load_ms and cold_ms begin with the file's bytes in memory.",
      "page_bytes is performance.measureUserAgentSpecificMemory before all else, with " +
        (active === null ? "no task active." : `the task ${active} active.`),
    ],
  };
}

/** Token ids that the base knows whatever its vocabulary: those of a sentence, over and over. */
function sampleInputs(session: EdgeSession): RunInputs {
  const sentence = ["the quick brown fox jumps over the lazy dog"];
  const ids = session.encoder?.encode(sentence).input_ids ?? [0];
  const input_ids = Array.from({ length: TOKENS }, (_, i) => ids[i % ids.length] as number);
  return { dims: [1, TOKENS], input_ids };
}

/** Version of the package, put in by the build. */
declare const VERSION: string;

/** A name that none of `tasks` has. */
function spareName(tasks: readonly string[]): string {
  let name = "measured";
  while (tasks.includes(name)) name += "-";
  return name;
}

/** A swap from the file's bytes in memory, under the name `spare`, and between decoded tasks. */
function measureSwap(
  session: EdgeSession,
  task: string,
  bytes: Uint8Array,
  spare: string,
): { decodedBytes: number; figures: Part["figures"] } {
  const load: number[] = [];
  const decode: number[] = [];
  const cold: number[] = [];
  let decodedBytes = 0;
  for (let i = 0; i < COLD_SWAPS; i++) {
    const start = performance.now();
    session.loadBytes(bytes, spare);
    const loaded = performance.now();
    session.activate(spare);
    const end = performance.now();
    load.push(loaded - start);
    decode.push(end - loaded);
    cold.push(end - start);
    decodedBytes = (session.decoded() as DecodedTask).bytes;
    session.unload(spare);
  }
  session.activate(task);
  const start = performance.now();
  for (let i = 0; i < WARM_SWAPS; i++) {
    session.deactivate();
    session.activate(task);
  }
  const warm = (performance.now() - start) / WARM_SWAPS;
  return {
    decodedBytes,
    figures: {
      load_ms: spread(load),
      decode_ms: spread(decode),
      cold_ms: spread(cold),
      warm_ms: warm,
    },
  };
}

function row(of: Record<string, string>, figures: Part["figures"]): unknown {
  return { of, figures, missing: {} };
}

function scenario(
  id: string,
  title: string,
  figures: Part["figures"],
  rows: readonly unknown[],
  more = NONE,
): unknown {
  return {
    id,
    title,
    role: "osd-edge",
    status: "done",
    reason: null,
    figures: { ...figures, ...more.figures },
    missing: more.missing,
    rows,
    checks: [],
  };
}

function machine(): unknown {
  return {
    kind: "browser",
    processor: null,
    architecture: null,
    system: null,
    cpus: navigator.hardwareConcurrency,
    cpus_usable: navigator.hardwareConcurrency,
    memory_bytes: null,
    software: { browser: navigator.userAgent, "onnxruntime-web": ORT_VERSION },
  };
}

/** Version of onnxruntime-web, put in by the build. */
declare const ORT_VERSION: string;

function spread(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number): number => {
    const place = share * (sorted.length - 1);
    const low = sorted[Math.floor(place)] as number;
    return low + ((sorted[Math.ceil(place)] as number) - low) * (place % 1);
  };
  return {
    n: sorted.length,
    min: at(0),
    p10: at(0.1),
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
  };
}

function shuffled<T>(items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [items[i], items[j]] = [items[j] as T, items[i] as T];
  }
  return items;
}
