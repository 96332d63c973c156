/** Memory of the page with MiniLM, in fp32 (91 MB) and in int8 (24 MB), against budgets. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import type { CDPSession, Page } from "playwright-core";
import { openBrowser, Phone } from "./phone.js";
import { Served } from "./serve.js";

// Measured with Chromium 156, see docs/phones.md, and a fifth on top (of what the browser tells, two
// fifths): memory depends on when a browser collects garbage.
const BUDGETS_MIB = {
  minilm: { peak: 480, settled: 400, told: 200 },
  "minilm-int8": { peak: 400, settled: 280, told: 62 },
};

/** Proportional set size of the largest renderer process of `browser`, in bytes. */
async function rendererPss(devtools: CDPSession): Promise<number> {
  const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
  const sizes = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => pss(id));
  return Math.max(0, ...sizes);
}

function pss(process: number): number {
  try {
    const rollup = readFileSync(`/proc/${process}/smaps_rollup`, "utf8");
    return 1024 * Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)![1]);
  } catch {
    return 0; // it has just ended
  }
}

/** The highest memory while `work` goes on. */
async function peakPss(devtools: CDPSession, work: () => Promise<void>): Promise<number> {
  let peak = 0;
  let over = false;
  const watch = async (): Promise<void> => {
    while (!over) {
      peak = Math.max(peak, await rendererPss(devtools));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const watching = watch();
  try {
    await work();
  } finally {
    over = true;
    await watching;
  }
  return peak;
}

/** What the browser says of the page, garbage collected; null where it does not tell. */
function told(page: Page): Promise<number | null> {
  return page.evaluate(async () => {
    const { measureUserAgentSpecificMemory: ask } = performance as unknown as {
      measureUserAgentSpecificMemory?: () => Promise<{ bytes: number }>;
    };
    return ask === undefined ? null : (await ask.call(performance)).bytes;
  });
}

for (const [base, budget] of Object.entries(BUDGETS_MIB)) {
  test(`the page with ${base} and three tasks stays within its memory`, (t) => hold(t, base, budget));
}

async function hold(
  t: TestContext,
  base: string,
  budget: { readonly peak: number; readonly settled: number; readonly told: number },
): Promise<void> {
  const tasks = ["first", "second", "third"];
  const served = await Served.start(base, tasks);
  const browser = await openBrowser();
  try {
    const devtools = await browser.newBrowserCDPSession();
    const address = `http://127.0.0.1:${served.port}/`;
    const phone = await Phone.with(browser);
    await phone.visit(address);
    const empty = await rendererPss(devtools);
    const answer = async (on: Phone): Promise<void> => {
      for (const task of tasks) {
        await on.choose(task);
        await on.page.locator("#scores li").first().waitFor();
      }
    };
    const installing = await peakPss(devtools, async () => {
      await phone.getBase();
      await phone.add(...tasks);
      await phone.type("the cat sat on the mat");
      await answer(phone);
    });
    const again = await phone.tab();
    await phone.page.close();
    const opening = await peakPss(devtools, async () => {
      await again.visit(address);
      await answer(again);
    });
    const page = await told(again.page);
    const settled = await rendererPss(devtools);
    const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
    t.diagnostic(
      `renderer PSS: ${mib(empty)} without a base; at most ${mib(installing)} while installing ` +
        `and ${mib(opening)} while opening; ${mib(settled)} settled. ` +
        `measureUserAgentSpecificMemory: ${page === null ? "not told" : mib(page)}`,
    );
    for (const bytes of [installing, opening]) assert.ok(bytes < budget.peak * 2 ** 20, mib(bytes));
    assert.ok(settled < budget.settled * 2 ** 20, mib(settled));
    if (page !== null) assert.ok(page < budget.told * 2 ** 20, mib(page));
  } finally {
    await browser.close();
    served.stop();
  }
}
