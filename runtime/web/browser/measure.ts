/**
 * Processor time of answers and swaps in Chromium, in one thread: `npm run measure -- FOLDER BASE…`.
 *
 * FOLDER holds base packages BASE, and checkpoint-*.osd.safetensors with checkpoints.json as
 * tests/web_checkpoints.py writes them. Processor time, since it says the same on a busy machine;
 * the page's own button measures the time that passes.
 */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { CDPSession, Page } from "playwright-core";
import { type Runtime, RuntimePage } from "./runtime-page.js";

const ROUNDS = 3; // of all texts
const COLD = 50;
const WARM = 100_000;

/** Seconds that renderer processes have been at work. */
async function cpuSeconds(devtools: CDPSession): Promise<number> {
  const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
  const renderers = processInfo.filter(({ type }) => type === "renderer");
  return renderers.reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

interface Bench {
  run(rounds: number, task: string | null): Promise<number>;
  cold(times: number): number;
  warm(times: number): number;
}

/** Open `base` with all tasks in the page; what it can do stays there. */
function open(page: Page, base: string, tasks: readonly string[], texts: readonly string[]): Promise<void> {
  return page.evaluate(
    async ({ base, tasks, texts }) => {
      const address = "/runtime.js"; // a variable: it is of the page, not of this module
      const { EdgeSession, ort, textEncoder } = (await import(address)) as Runtime;
      ort.env.wasm.wasmPaths = new URL("/ort/", location.href).href;
      const session = await EdgeSession.create(base, { encoder: textEncoder });
      const bundles: Uint8Array[] = [];
      for (const task of tasks) {
        const response = await fetch(`/checkpoint-${task}.osd.safetensors`);
        bundles.push(new Uint8Array(await response.arrayBuffer()));
        session.loadBytes(bundles.at(-1)!, task);
        session.activate(task);
      }
      const inputs = texts.map((text) => session.encoder!.encode([text]));
      const bench: Bench = {
        async run(rounds, task) {
          for (let i = 0; i < rounds; i++) {
            for (const one of inputs) await session.run(one, { task });
          }
          return rounds * inputs.length;
        },
        cold(times) {
          for (let i = 0; i < times; i++) {
            session.loadBytes(bundles[i % bundles.length]!, "cold");
            session.activate("cold");
            session.unload("cold");
          }
          return times;
        },
        warm(times) {
          for (let i = 0; i < times; i++) session.activate(tasks[i % tasks.length]!);
          return times;
        },
      };
      Object.assign(self, { bench });
    },
    { base, tasks, texts },
  );
}

async function measure(folder: string, base: string): Promise<void> {
  const { tasks, cases } = JSON.parse(readFileSync(resolve(folder, "checkpoints.json"), "utf8")) as {
    tasks: string[];
    cases: { text: string }[];
  };
  const opened = await RuntimePage.open(resolve(folder));
  try {
    const { page, browser } = opened;
    const devtools = await browser.newBrowserCDPSession();
    const before = await cpuSeconds(devtools);
    await open(page, `/${base}`, tasks, cases.map(({ text }) => text));
    console.log(`${base}: opened in ${(await cpuSeconds(devtools)) - before} s`);
    /** Milliseconds for each time that `work` was done. */
    const each = async (name: string, work: () => Promise<number>): Promise<void> => {
      await work(); // warm
      const start = await cpuSeconds(devtools);
      const times = await work();
      const ms = (1000 * ((await cpuSeconds(devtools)) - start)) / times;
      console.log(`${base}: ${name}: ${ms.toPrecision(3)} ms of processor time, mean of ${times}`);
    };
    type Holder = { bench: Bench };
    const run = (task: string | null) => () =>
      page.evaluate(
        ([rounds, task]) => (self as unknown as Holder).bench.run(rounds, task),
        [ROUNDS, task] as const,
      );
    await each("a text, no task", run(null));
    await each("a text, with a task", run(tasks[0]!));
    await each("a swap from a file's bytes", () =>
      page.evaluate((times) => (self as unknown as Holder).bench.cold(times), COLD),
    );
    await each("a swap to a decoded task", () =>
      page.evaluate((times) => (self as unknown as Holder).bench.warm(times), WARM),
    );
  } finally {
    await opened.close();
  }
}

const [folder, ...bases] = process.argv.slice(2);
if (folder === undefined || bases.length === 0) {
  console.error("expected a folder and the names of base packages in it: npm run measure -- FOLDER BASE…");
  process.exitCode = 2;
} else {
  for (const base of bases) await measure(folder, base);
}
