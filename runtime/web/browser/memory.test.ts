/** Memory of the page with MiniLM, a base of 91 MB, against a budget. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Browser } from "playwright-core";
import { openBrowser, Phone } from "./phone.js";
import { Served } from "./serve.js";

// Measured 2026-11 with Chromium 156: see docs/phones.md. Memory of a process, not a time.
const BUDGET_BYTES = 420 * 2 ** 20;

/** Proportional set size of the largest renderer process of `browser`, in bytes. */
async function rendererPss(browser: Browser): Promise<number> {
  const devtools = await browser.newBrowserCDPSession();
  const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
  const sizes = processInfo
    .filter(({ type }) => type === "renderer")
    .map(({ id }) => {
      const rollup = readFileSync(`/proc/${id}/smaps_rollup`, "utf8");
      return 1024 * Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)![1]);
    });
  return Math.max(...sizes);
}

test("the page with MiniLM and three tasks stays within its memory", async (t) => {
  const tasks = ["first", "second", "third"];
  const served = await Served.start("minilm", tasks);
  const browser = await openBrowser();
  try {
    const phone = await Phone.with(browser);
    await phone.visit(`http://127.0.0.1:${served.port}/`);
    const empty = await rendererPss(browser);
    await phone.getBase();
    await phone.add(...tasks);
    await phone.type("the cat sat on the mat");
    for (const task of tasks) {
      await phone.choose(task);
      await phone.page.locator("#scores li").first().waitFor();
    }
    const installing = await rendererPss(browser);
    await phone.page.reload();
    await phone.page.locator("#scores li").first().waitFor();
    const opened = await rendererPss(browser);
    const told = await phone.page.evaluate(async () => {
      const { measureUserAgentSpecificMemory } = performance as unknown as {
        measureUserAgentSpecificMemory(): Promise<{ bytes: number }>;
      };
      return (await measureUserAgentSpecificMemory.call(performance)).bytes;
    });
    const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
    t.diagnostic(
      `renderer PSS: ${mib(empty)} without a base, ${mib(installing)} after installing, ` +
        `${mib(opened)} after a reload; measureUserAgentSpecificMemory ${mib(told)}`,
    );
    for (const bytes of [installing, opened]) {
      assert.ok(bytes < BUDGET_BYTES, `${mib(bytes)}, the budget is ${mib(BUDGET_BYTES)}`);
    }
  } finally {
    await browser.close();
    served.stop();
  }
});
