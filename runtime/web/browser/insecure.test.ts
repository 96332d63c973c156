/**
 * The page over plain http from another machine, as browsers see it: by a name that is not
 * localhost. No service worker, no Cache Storage, no WebCrypto, no locks, no threads.
 */

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { label, TASKS, TEXTS } from "./expected.js";
import { openBrowser, Phone } from "./phone.js";
import { Proxy, Served } from "./serve.js";

const HOST = "workstation.test";
const RESOLVE = `--host-resolver-rules=MAP ${HOST} 127.0.0.1`;
const SCREENSHOTS = fileURLToPath(new URL("../screenshots/", import.meta.url));
const [text] = TEXTS;

let browser: Browser;
let served: Served;
let proxy: Proxy;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  [served, browser] = await Promise.all([Served.start("base", TASKS), openBrowser(RESOLVE)]);
});

beforeEach(async () => {
  await proxy?.stop();
  proxy = new Proxy(served);
  await proxy.start();
});

after(async () => {
  await browser?.close();
  await proxy?.stop();
  served?.stop();
});

/** A phone on the page, which is of no secure context. */
async function visited(): Promise<Phone> {
  const phone = await Phone.with(browser);
  await phone.visit(proxy.addressAt(HOST));
  const has = await phone.page.evaluate(() => ({
    secure: isSecureContext,
    isolated: crossOriginIsolated,
    caches: "caches" in self,
    worker: "serviceWorker" in navigator,
    subtle: crypto.subtle !== undefined,
  }));
  assert.deepEqual(new Set(Object.values(has)), new Set([false]), JSON.stringify(has));
  return phone;
}

test("while it is open it gets tasks and swaps, and says what does not work", async () => {
  const phone = await visited();
  await phone.getBase();
  await phone.add(...TASKS);
  await phone.type(text);
  for (const task of TASKS) {
    await phone.choose(task);
    await phone.answers(label(task, text));
  }
  await phone.page.screenshot({ path: `${SCREENSHOTS}insecure.png`, fullPage: true });
  const said = await phone.page.getByRole("region", { name: "Not kept on this device" }).innerText();
  const { origin, port } = new URL(proxy.addressAt(HOST));
  for (const word of [origin, `adb reverse tcp:${port} tcp:${port}`, "https", "not offline"]) {
    assert.ok(said.includes(word), `${word} in: ${said}`);
  }
  assert.match((await phone.page.textContent("#status"))!, /not kept/);
  await phone.page.getByRole("button", { name: "Remove second" }).click();
  await phone.page.getByRole("button", { name: "Add second" }).waitFor();
  await phone.page.getByRole("button", { name: "Measure" }).click();
  await phone.page.locator("#report table").waitFor();
  await phone.page.reload();
  await phone.page.getByRole("button", { name: /^Get the base/ }).waitFor();
  assert.deepEqual(phone.mistakes, []);
  await phone.close();
});

test("digests are checked, and a broken download goes on", async () => {
  const phone = await visited();
  proxy.fault = { path: "model.onnx.data", cutAfter: 5_000_000 };
  await phone.getBase();
  assert.equal(proxy.asked.filter(({ path }) => path.endsWith("model.onnx.data")).length, 2);
  proxy.fault = { path: "first.osd", change: (bytes) => void (bytes[bytes.length - 1]! ^= 1) };
  await phone.page.getByRole("button", { name: "Add first" }).click();
  await phone.refuses("download.digest");
  proxy.fault = null;
  await phone.add("first");
  await phone.type(text);
  await phone.answers(label("first", text));
  await phone.close();
});

test("with Chrome's flag for its origin, which the page names, it works offline", async () => {
  const { origin } = new URL(proxy.addressAt(HOST));
  const trusting = await openBrowser(RESOLVE, `--unsafely-treat-insecure-origin-as-secure=${origin}`);
  try {
    const phone = await Phone.with(trusting);
    await phone.visit(proxy.addressAt(HOST));
    assert.ok(await phone.page.locator("#unkept").isHidden());
    await phone.getBase();
    await phone.add("first");
    await phone.keptOffline();
    await proxy.stop();
    await phone.page.reload();
    await phone.page.getByText("Offline · ready").waitFor();
    await phone.type(text);
    await phone.answers(label("first", text));
  } finally {
    await trusting.close();
  }
});
