import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { after, before, beforeEach, test } from "node:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Locator } from "playwright-core";
import { readBundle } from "../src/core.js";
import { label, TASKS, TEXTS } from "./expected.js";
import { openBrowser, Phone } from "./phone.js";
import { COMMAND, Proxy, Served } from "./serve.js";

const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));
const SCREENSHOTS = fileURLToPath(new URL("../screenshots/", import.meta.url));
const [text, ...others] = TEXTS;

let browser: Browser;
let first: Served;
let other: Served;
let proxy: Proxy;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  [first, other, browser] = await Promise.all([
    Served.start("base", TASKS),
    Served.start("other", TASKS),
    openBrowser(),
  ]);
});

beforeEach(async () => {
  await proxy?.stop();
  proxy = new Proxy(first);
  await proxy.start();
});

after(async () => {
  await browser?.close();
  await proxy?.stop();
  first?.stop();
  other?.stop();
});

/** A phone with the base and `tasks`, ready to answer. */
async function ready(...tasks: string[]): Promise<Phone> {
  const phone = await Phone.with(browser);
  await phone.visit(proxy.address);
  await phone.getBase();
  await phone.add(...tasks);
  await phone.keptOffline();
  return phone;
}

test("three tasks answer as in Python, as one taps from task to task", async () => {
  const phone = await ready(...TASKS);
  for (const one of [text, ...others.slice(0, 2)]) {
    await phone.type(one);
    for (const task of TASKS) {
      await phone.choose(task);
      await phone.answers(label(task, one));
      assert.match((await phone.page.textContent("#swap-cost"))!, /ms/);
    }
  }
  assert.match((await phone.page.textContent("#run-cost"))!, /ms, \d+ tokens/);
  const isolated = await phone.page.evaluate(() => self.crossOriginIsolated);
  assert.ok(isolated, "threads and memory figures need isolation");
  assert.deepEqual(phone.mistakes, []);
  await phone.close();
});

test("the cost of a swap stays on show until the next swap", async () => {
  const phone = await ready("first", "second");
  await phone.choose("second");
  await phone.type(text);
  await phone.answers(label("second", text));
  const cost = await phone.page.textContent("#swap-cost");
  assert.match(cost!, /ms, cold$/);
  await phone.add("third");
  await phone.page.evaluate(() => void dispatchEvent(new Event("online"))); // it looks again
  await phone.page.getByRole("button", { name: "Remove first" }).click();
  await phone.page.getByRole("button", { name: "Add first" }).waitFor();
  const unlike = others.find((one) => label("second", one) !== label("second", text))!;
  await phone.type(unlike);
  await phone.answers(label("second", unlike));
  assert.equal(await phone.page.textContent("#swap-cost"), cost);
  await phone.close();
});

test("nothing on the page moves by itself, and every control is named and thumb-sized", async () => {
  const phone = await Phone.with(browser);
  await phone.page.addInitScript(() => {
    const shifts: number[] = [];
    Object.assign(self, { shifts });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as (PerformanceEntry & { value: number; hadRecentInput: boolean })[]) {
        if (!entry.hadRecentInput) shifts.push(entry.value);
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  await phone.visit(proxy.address);
  await phone.getBase();
  await phone.add(...TASKS);
  await phone.type(text);
  for (const task of TASKS) {
    await phone.choose(task);
    await phone.answers(label(task, text));
  }
  const shift = await phone.page.evaluate(() =>
    (self as unknown as { shifts: number[] }).shifts.reduce((a, b) => a + b, 0),
  );
  assert.ok(shift < 0.1, `the page moved by ${shift}`);
  for (const button of await phone.page.getByRole("button").all()) {
    const box = (await button.boundingBox())!;
    assert.ok(box.height >= 44 && box.width >= 44, `${await button.textContent()} is small`);
    const name = (await button.getAttribute("aria-label")) ?? (await button.textContent());
    assert.ok(name, "a button without a name");
  }
  await phone.close();
});

for (const [name, options] of Object.entries({
  "portrait-light": { profile: "Pixel 7", colorScheme: "light" },
  "portrait-dark": { profile: "iPhone SE", colorScheme: "dark", isMobile: true },
  "landscape-light": { profile: "Pixel 7 landscape", colorScheme: "light" },
} as const)) {
  test(`it fits the screen: ${name}`, async () => {
    const phone = await Phone.with(browser, options);
    await phone.visit(proxy.address);
    await phone.page.screenshot({ path: `${SCREENSHOTS}${name}-new.png`, fullPage: true });
    await phone.getBase();
    await phone.add("first", "second");
    await phone.type(text);
    await phone.choose("second");
    await phone.answers(label("second", text));
    await phone.page.screenshot({ path: `${SCREENSHOTS}${name}.png`, fullPage: true });
    const wider = await phone.page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.ok(wider <= 0, `${wider} pixels too wide`);
    await phone.close();
  });
}

test("with the server stopped, a reload finds page, base and tasks", async () => {
  const phone = await ready("first", "second");
  await phone.type(text);
  await phone.choose("second");
  await phone.answers(label("second", text));
  await proxy.stop();
  await phone.page.reload();
  await phone.page.getByText("Offline · ready").waitFor();
  assert.equal(await phone.page.inputValue("#message"), text);
  await phone.answers(label("second", text));
  await phone.choose("first");
  await phone.answers(label("first", text));
  await phone.page.getByRole("button", { name: "Remove first" }).click();
  await phone.page.getByRole("button", { name: "Remove first" }).waitFor({ state: "detached" });
  await phone.answers(label("second", text));
  await phone.close();
});

test("it says that it works offline when that is so, and not before", async () => {
  const phone = await Phone.with(browser);
  proxy.fault = { path: "sw.js", status: 404 };
  await phone.visit(proxy.address);
  await phone.page.getByText("Online · not kept, see below").waitFor();
  await phone.page.getByRole("region", { name: "Not kept on this device" }).waitFor();
  await phone.getBase(); // it works while it is open
  proxy.fault = null;
  await phone.visit(proxy.address);
  await phone.page.getByText("Online · works offline").waitFor();
  await phone.close();
});

test("a file of the page that cannot be kept: it is not said to work offline", async () => {
  const phone = await Phone.with(browser);
  proxy.fault = { path: "icon-512.png", status: 404 };
  await phone.visit(proxy.address);
  await phone.page.getByText("Online · not kept, see below").waitFor();
  await phone.close();
});

test("on a web server that sends no headers, the page's own policy holds", async () => {
  proxy.plain = true;
  const phone = await ready("first");
  await phone.type(text);
  await phone.answers(label("first", text));
  const refused = await phone.page.evaluate(async () => {
    const found: string[] = [];
    addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
    const script = document.createElement("script");
    script.textContent = "document.title = 'ran'";
    document.head.append(script);
    await fetch("http://localhost:1/").catch(() => null);
    for (let wait = 0; found.length < 2 && wait < 100; wait++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return { found: found.sort(), title: document.title };
  });
  assert.deepEqual(refused, { found: ["connect-src", "script-src-elem"], title: "OSD Edge" });
  await phone.close();
});

test("below a path of its server it is kept as well", async () => {
  const phone = await Phone.with(browser);
  proxy.below = "/sub";
  await phone.visit(`${proxy.address}sub/`);
  await phone.getBase();
  await phone.add("first");
  await phone.page.getByText("Online · works offline").waitFor();
  await proxy.stop();
  await phone.page.reload();
  await phone.page.getByText("Offline · ready").waitFor();
  await phone.type(text);
  await phone.answers(label("first", text));
  await phone.close();
});

test("pages below two paths of one server have nothing in common", async () => {
  const phone = await Phone.with(browser);
  proxy.below = "/sub";
  await phone.visit(`${proxy.address}sub/`);
  await phone.getBase();
  await phone.add("first");
  await phone.type(text);
  await phone.answers(label("first", text));
  await phone.keptOffline();
  const kept = await phone.stored();
  proxy.below = "";
  const root = await phone.tab();
  await root.visit(proxy.address);
  assert.equal(await root.page.inputValue("#message"), "");
  await root.getBase();
  await root.page.getByRole("button", { name: "Add first" }).waitFor();
  await root.add("second");
  assert.deepEqual(await phone.stored(), kept);
  await phone.page.reload();
  await phone.answers(label("first", text));
  await phone.close();
});

test("a page that is older than its server says so, and a reload brings the new one", async () => {
  const phone = await ready("first");
  await phone.type(text);
  await phone.answers(label("first", text));
  /** The site as a newer version would be: another page, and a catalogue of another format. */
  const change = (bytes: Buffer): void => {
    const put = (old: string, next: string): void => {
      const at = bytes.indexOf(old);
      if (at >= 0) bytes.write(next, at);
    };
    put('"format": 1', '"format": 2');
    put("<h1>OSD Edge", "<h1>OSD Next");
    const version = bytes.indexOf('version:"');
    if (version >= 0) bytes.write("next", version + 'version:"'.length);
  };
  proxy.fault = { path: "", change };
  await phone.page.reload();
  await phone.page.getByText("Older than the server · reload to update").waitFor();
  await phone.answers(label("first", text)); // what is here works on
  await phone.page.reload();
  await phone.page.getByRole("heading", { name: "OSD Next" }).waitFor();
  await phone.answers(label("first", text));
  assert.deepEqual(phone.mistakes, []);
  await phone.close();
});

test("caches of earlier versions of the page are deleted, those of other pages stay", async () => {
  const phone = await Phone.with(browser);
  await phone.page.goto(`${proxy.address}icon.svg`); // of the server, without the page
  const { href, pathname } = new URL(".", phone.page.url());
  const older = [
    `osd-edge-page ${href} 0123456789abcdef`,
    `osd-edge files-0 ${pathname}`,
    "osd-edge-page-0123456789abcdef",
    "osd-edge-files-1",
  ];
  const others = ["notes", `osd-edge files-1 ${pathname}sub/`, `osd-edge-page ${href}sub/ 01`];
  await phone.page.evaluate(
    async ([names, address]) => {
      for (const name of names) await (await caches.open(name)).put(address, new Response("old"));
    },
    [[...older, ...others], `${href}index.html`] as const,
  );
  await phone.visit(proxy.address);
  await phone.getBase();
  await phone.keptOffline();
  const left = async (): Promise<string[]> => phone.page.evaluate(() => caches.keys());
  await phone.page.waitForFunction(
    async (names) => !(await caches.keys()).some((name) => names.includes(name)),
    older,
  );
  for (const name of [...others, phone.cacheName()]) assert.ok((await left()).includes(name), name);
  await proxy.stop();
  await phone.page.reload(); // and the page that is kept is the new one
  await phone.page.getByText("shared by all tasks").waitFor();
  await phone.close();
});

test("the folder that serve --export writes: any web server of files shows the page", async () => {
  const folder = mkdtempSync(join(tmpdir(), "osd-edge-site-"));
  const bundles = ["first", "second"].flatMap((task) => [
    "--bundle",
    `${FIXTURES}base-${task}.osd.safetensors`,
  ]);
  const written = spawnSync(
    COMMAND,
    ["serve", "--base", `${FIXTURES}base`, ...bundles, "--export", join(folder, "below", "site")],
    { encoding: "utf8" },
  );
  assert.equal(written.status, 0, written.stderr);
  const server = spawn(
    process.env.PYTHON ?? "python3",
    ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  try {
    const [line] = (await once(server.stdout, "data")) as [Buffer];
    const port = /port (\d+)/.exec(String(line))![1];
    const phone = await Phone.with(browser);
    await phone.visit(`http://127.0.0.1:${port}/below/site/`);
    await phone.getBase();
    await phone.add("first", "second");
    await phone.keptOffline();
    await phone.type(text);
    for (const task of ["first", "second"]) {
      await phone.choose(task);
      await phone.answers(label(task, text));
    }
    assert.deepEqual(phone.mistakes, []);
    server.kill();
    await once(server, "exit");
    await phone.page.reload(); // offline, from what it kept
    await phone.choose("second");
    await phone.type(text);
    await phone.answers(label("second", text));
    await phone.close();
  } finally {
    server.kill();
    rmSync(folder, { recursive: true });
  }
});

test("a server that takes connections and never answers holds nothing up", async () => {
  const phone = await ready("first", "second");
  await phone.type(text);
  await phone.choose("second");
  await phone.answers(label("second", text));
  proxy.fault = { path: "catalogue.json", silent: true };
  await phone.page.reload();
  await phone.answers(label("second", text));
  await phone.choose("first");
  await phone.answers(label("first", text));
  await phone.page.getByText("Offline · ready").waitFor(); // it was given up
  await phone.close();
});

test("a download that breaks off goes on where it broke, and is checked as a whole", async () => {
  const phone = await Phone.with(browser);
  await phone.visit(proxy.address);
  proxy.fault = { path: "model.onnx.data", cutAfter: 5_000_000 };
  await phone.getBase();
  const asked = proxy.asked.filter(({ path }) => path.endsWith("model.onnx.data"));
  assert.equal(asked.length, 2);
  // Not from the 5,000,000 that were sent: a stream that fails drops what was not read of it yet.
  assert.match(asked[1]!.range!, /^bytes=[1-9]/);
  await phone.add("first");
  await phone.type(text);
  await phone.answers(label("first", text));
  await phone.close();
});

test("a download over which nothing comes any more goes on as one that breaks off", async () => {
  const phone = await Phone.with(browser);
  await phone.visit(proxy.address);
  proxy.fault = { path: "model.onnx.data", cutAfter: 5_000_000, silent: true };
  await phone.getBase();
  const asked = proxy.asked.filter(({ path }) => path.endsWith("model.onnx.data"));
  assert.equal(asked.length, 2);
  assert.match(asked[1]!.range!, /^bytes=[1-9]/);
  await phone.close();
});

test("a download that broke off for good goes on after a reload", async () => {
  const phone = await Phone.with(browser);
  await phone.visit(proxy.address);
  proxy.fault = { path: "model.onnx.data", cutAfter: 5_000_000, thenStop: true };
  await phone.page.getByRole("button", { name: /^Get the base/ }).click();
  await phone.refuses("download.broken");
  assert.ok((await phone.stored()).some((key) => key.includes("/piece/")), "what came is kept");
  await proxy.start();
  proxy.asked.length = 0;
  await phone.visit(proxy.address);
  await phone.getBase();
  const weights = proxy.asked.filter(({ path }) => path.endsWith("model.onnx.data"));
  assert.match(weights[0]!.range!, /^bytes=[1-9]/);
  await phone.close();
});

/** Offer another base and break its download off for good; the button that goes on with it. */
async function brokenUpdate(phone: Phone): Promise<Locator> {
  proxy.served = other;
  await phone.page.reload();
  const update = phone.page.getByRole("button", { name: /^Update the base/ });
  await update.waitFor();
  proxy.fault = { path: "model.onnx.data", cutAfter: 5_000_000, thenStop: true };
  await update.click();
  await phone.refuses("download.broken");
  return update;
}

test("an update of the base that broke off loses none of its files to another change", async () => {
  const phone = await ready("first");
  const update = await brokenUpdate(phone);
  await phone.page.getByRole("button", { name: "Remove first" }).click();
  await phone.page.getByRole("button", { name: "Remove first" }).waitFor({ state: "detached" });
  await proxy.start();
  proxy.asked.length = 0;
  await update.click();
  await update.waitFor({ state: "detached" });
  // The graph was whole, and of the weights a part was here.
  const asked = proxy.asked.filter(({ path }) => path.includes("model.onnx"));
  assert.equal(asked.length, 1);
  assert.match(asked[0]!.range!, /^bytes=[1-9]/);
  assert.ok(!(await phone.stored()).some((key) => key.includes("/pending/")));
  await phone.close();
});

test("what came of an update that the server no longer offers is deleted", async () => {
  const phone = await ready("first");
  const before = await phone.stored();
  await brokenUpdate(phone);
  assert.ok((await phone.stored()).length > before.length);
  proxy.served = first;
  await proxy.start();
  await phone.page.reload();
  await phone.page.getByText("Online · works offline").waitFor();
  assert.deepEqual((await phone.stored()).sort(), before.sort());
  await phone.close();
});

test("a file of which the browser dropped a piece is got again, from there on", async () => {
  const phone = await ready("first");
  /** Drop what is kept under a key that ends so. */
  const drop = (end: string): Promise<number> =>
    phone.page.evaluate(
      async ([name, end]) => {
        const cache = await caches.open(name!);
        const lost = (await cache.keys()).filter(({ url }) => url.endsWith(end!));
        for (const key of lost) await cache.delete(key);
        return lost.length;
      },
      [phone.cacheName(), end],
    );
  assert.equal(await drop("/1"), 1, "one file has more than a piece: the weights");
  await phone.page.reload();
  await phone.refuses("storage.lost");
  proxy.asked.length = 0;
  await phone.getBase();
  const asked = proxy.asked.filter(({ path }) => /model|tokenizer/.test(path));
  assert.deepEqual(asked.map(({ range }) => range), [`bytes=${4 * 2 ** 20}-`]);
  const record = await phone.record("task/first");
  assert.equal(await drop(`/piece/${record.sha256}/0`), 1);
  await phone.page.reload();
  await phone.page.locator("small.refused", { hasText: "[storage.lost]" }).waitFor();
  await phone.page.getByRole("button", { name: "Update first" }).click();
  await phone.type(text);
  await phone.answers(label("first", text));
  assert.equal(await phone.page.locator("small.refused").count(), 0);
  await phone.close();
});

test("a damaged task is not used, and nothing of it stays", async () => {
  const phone = await ready("first");
  const before = await phone.stored();
  proxy.fault = { path: "second.osd", change: (bytes) => void (bytes[bytes.length - 1]! ^= 1) };
  await phone.page.getByRole("button", { name: "Add second" }).click();
  await phone.refuses("download.digest");
  assert.deepEqual(await phone.stored(), before);
  await phone.type(text);
  await phone.answers(label("first", text));
  proxy.fault = null;
  await phone.add("second");
  assert.equal(await phone.page.textContent("#problem"), "");
  await phone.close();
});

test("where there is no room, it says so and leaves nothing behind", async () => {
  const phone = await Phone.with(browser);
  await phone.visit(proxy.address);
  await phone.keptOffline();
  const devtools = await phone.context.newCDPSession(phone.page);
  const { origin } = new URL(proxy.address);
  const { usage } = await devtools.send("Storage.getUsageAndQuota", { origin });
  const quotaSize = Math.ceil(usage) + 5_000_000; // a piece, and not two
  await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize });
  await phone.page.getByRole("button", { name: /^Get the base/ }).click();
  await phone.refuses("storage.full");
  const { files } = JSON.parse(readFileSync(`${FIXTURES}base/manifest.json`, "utf8"));
  const { sha256 } = files["model.onnx.data"];
  const left = (await phone.stored()).filter((key) => key.includes(sha256) || key.endsWith("/base"));
  assert.deepEqual(left, [], "no piece of the file, and no base");
  await devtools.send("Storage.overrideQuotaForOrigin", { origin });
  await phone.getBase();
  await phone.add("first");
  await phone.close();
});

test("a new base: tasks of the old one are refused by its fingerprint and offered anew", async () => {
  const phone = await ready("first", "second");
  await phone.type(text);
  await phone.choose("second");
  await phone.answers(label("second", text));
  proxy.served = other;
  await phone.page.reload();
  const update = phone.page.getByRole("button", { name: /^Update the base/ });
  await update.waitFor();
  // Until it is updated, all works as before, and no task of the new base takes an old one's place.
  await phone.answers(label("second", text));
  assert.equal(await phone.page.getByRole("button", { name: /^Update (first|second)/ }).count(), 0);
  assert.ok(await phone.page.getByRole("button", { name: "Add third" }).isDisabled());
  assert.match(await phone.page.locator("#files").innerText(), /for the new base/);
  await phone.page.getByRole("button", { name: "Remove second" }).waitFor();
  await update.click();
  const refused = phone.page.locator("small.refused", { hasText: "[bundle.base]" });
  await refused.nth(1).waitFor();
  assert.equal(await phone.page.locator("#choices button").count(), 0);
  await phone.page.getByRole("button", { name: "Update second" }).click();
  await phone.page.locator("#choices").getByRole("button", { name: "second" }).waitFor();
  assert.equal(await refused.count(), 1);
  await phone.page.getByText(/^(yes|no)$/).first().waitFor();
  const weights = (await phone.stored()).filter((key) => key.includes("/whole/"));
  // The new base's three files, its task, and the old task that was not replaced yet.
  assert.equal(weights.length, 5, "files of the old base are gone");
  await phone.close();
});

test("a task of which the server has another version can be updated, or removed", async () => {
  const phone = await ready("first");
  const { sha256 } = await phone.record("task/first");
  proxy.fault = {
    path: "catalogue.json",
    change: (bytes) => void bytes.write("0".repeat(8), bytes.indexOf(sha256)),
  };
  await phone.page.reload();
  await phone.page.getByRole("button", { name: "Update first" }).waitFor();
  await phone.page.getByRole("button", { name: "Remove first" }).click();
  await phone.page.getByRole("button", { name: "Add first" }).waitFor();
  await phone.close();
});

test("two tabs share what is installed, and get a file once", async () => {
  const one = await Phone.with(browser);
  const two = await one.tab();
  await Promise.all([one.visit(proxy.address), two.visit(proxy.address)]);
  // Asked at once, and not by a click that waits for a still page: the tab that is told of the base
  // first offers it no more.
  const offers = [one, two].map((tab) => tab.page.getByRole("button", { name: /^Get the base/ }));
  await Promise.all(offers.map((offer) => offer.waitFor()));
  await Promise.all(offers.map((offer) => offer.dispatchEvent("click")));
  for (const tab of [one, two]) await tab.page.getByText("shared by all tasks").waitFor();
  const asked = proxy.asked.filter(({ path }) => path.endsWith("model.onnx.data"));
  assert.equal(asked.length, 1);
  await one.add("first", "second");
  for (const tab of [one, two]) {
    await tab.type(text);
    await tab.choose("second");
    await tab.answers(label("second", text));
  }
  await two.page.getByRole("button", { name: "Remove second" }).click();
  await one.page.getByRole("button", { name: "Add second" }).waitFor();
  await one.answers(label("first", text));
  await one.close();
});

test("sent to the background and called back, it goes on", async () => {
  const phone = await ready("first", "second");
  await phone.type(text);
  await phone.choose("first");
  await phone.answers(label("first", text));
  const devtools = await phone.context.newCDPSession(phone.page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await phone.choose("second");
  await phone.answers(label("second", text));
  assert.deepEqual(phone.mistakes, []);
  await phone.close();
});

test("what is typed and removed while it measures", async () => {
  const phone = await ready(...TASKS);
  await phone.choose("first");
  await phone.page.getByRole("button", { name: "Measure" }).click();
  await phone.type(text);
  await phone.page.locator('#measured:not([value="0"])').waitFor({ state: "attached" });
  await phone.page.getByRole("button", { name: "Remove third" }).click();
  await phone.page.locator("#report table").waitFor();
  await phone.answers(label("first", text));
  await phone.page.getByRole("button", { name: "Add third" }).waitFor();
  assert.equal(await phone.page.textContent("#problem"), "");
  await phone.choose("second");
  await phone.answers(label("second", text));
  // The measurement has decoded it.
  assert.doesNotMatch((await phone.page.textContent("#swap-cost"))!, /cold/);
  await phone.close();
});

test("a server with other files than the page knows of: the list is brought up to date", async () => {
  const phone = await ready("first");
  proxy.served = other;
  proxy.asked.length = 0;
  await phone.page.getByRole("button", { name: "Add second" }).click();
  await phone.refuses("download.gone");
  assert.equal(proxy.asked.filter(({ path }) => path.startsWith("/tasks/")).length, 1);
  await phone.page.getByRole("button", { name: /^Update the base/ }).waitFor();
  await phone.type(text);
  await phone.answers(label("first", text));
  await phone.close();
});

test("a worker that failed is told of again, whatever is asked later", async () => {
  const phone = await Phone.with(browser);
  proxy.fault = { path: "worker.js", status: 404 };
  await phone.page.goto(proxy.address);
  await phone.refuses("page.failed");
  await phone.page.evaluate(() => {
    document.getElementById("problem")!.textContent = "";
    dispatchEvent(new Event("online")); // it asks anew
  });
  await phone.refuses("page.failed");
  await phone.close();
});

test("where the browser blocks a site's data, the page works while it is open", async () => {
  const phone = await Phone.with(browser);
  await phone.page.addInitScript(() => {
    Object.defineProperty(window, "localStorage", {
      get() {
        throw new DOMException("The operation is insecure.", "SecurityError");
      },
    });
  });
  await phone.visit(proxy.address);
  await phone.getBase();
  await phone.add("first", "second");
  await phone.type(text);
  await phone.choose("second");
  await phone.answers(label("second", text));
  assert.deepEqual(phone.mistakes, []);
  await phone.close();
});

test("with keys alone: the focus stays where it was when a task comes or goes", async () => {
  const phone = await Phone.with(browser);
  await phone.visit(proxy.address);
  const press = async (name: RegExp): Promise<void> => {
    await phone.page.getByRole("button", { name }).focus();
    await phone.page.keyboard.press("Enter");
  };
  const focused = (name: string): Promise<void> =>
    phone.page.locator(`button[aria-label="${name}"]:focus`).waitFor();
  await press(/^Get the base/);
  await phone.page.locator("#files:focus").waitFor(); // its button is gone
  await press(/^Add second/);
  await focused("Remove second");
  await phone.page.keyboard.press("Enter");
  await focused("Add second");
  await phone.close();
});

test("once a task is here, the browser is asked to keep what is here", async () => {
  const phone = await Phone.with(browser);
  await phone.page.addInitScript(() => {
    StorageManager.prototype.persisted = async () => false;
    StorageManager.prototype.persist = async () => {
      document.documentElement.dataset.asked = "yes";
      return false;
    };
  });
  const asked = phone.page.locator("html[data-asked]");
  await phone.visit(proxy.address);
  await phone.getBase();
  assert.equal(await asked.count(), 0);
  await phone.add("first");
  await asked.waitFor();
  await phone.close();
});

test("a task that gives no labels says so, and the others work", async () => {
  const kinds = await Served.start("base", ["first", "kind-spans"]);
  try {
    proxy.served = kinds;
    const phone = await ready("first");
    await phone.page.locator("small.refused", { hasText: "[task.kind]" }).waitFor();
    assert.equal(await phone.page.getByRole("button", { name: "Add spans" }).count(), 0);
    assert.equal(await phone.page.locator("#choices button").count(), 1);
    await phone.type(text);
    await phone.answers(label("first", text));
    await phone.close();
  } finally {
    kinds.stop();
  }
});

test("the measurement's report can be shared", async () => {
  const phone = await ready("first", "second");
  await phone.page.getByRole("button", { name: "Measure" }).click();
  await phone.page.locator("#report table").waitFor();
  const downloaded = phone.page.waitForEvent("download");
  await phone.page.getByRole("button", { name: "Share the report" }).click();
  const file = await (await downloaded).path();
  const { status, stdout, stderr } = spawnSync(COMMAND, ["bench", "--from", file], { encoding: "utf8" });
  assert.equal(status, 0, stderr); // the workstation reads it as one of its own
  assert.match(stdout, /PASSED: 2 tasks/);
  const report = JSON.parse(readFileSync(file, "utf8"));
  assert.equal(report.schema, "osd-edge-bench/1");
  assert.equal(report.machine.kind, "browser");
  assert.deepEqual(report.tasks.map(({ task }: { task: string }) => task), ["first", "second"]);
  for (const { task, file_bytes, decoded_bytes } of report.tasks) {
    const file = readFileSync(`${FIXTURES}base-${task}.osd.safetensors`);
    assert.equal(file_bytes, file.length);
    const { factors, head } = readBundle(file).decode();
    const parts = [...factors, ...head.layers].flatMap((one) => Object.values(one));
    const bytes = parts.reduce((sum, part) => sum + ((part as Float32Array | null)?.byteLength ?? 0), 0);
    assert.equal(decoded_bytes, bytes, "factors and head");
  }
  assert.ok(report.notes.some((note: string) => note.includes("with the task first active")));
  const ids = report.scenarios.map(({ id }: { id: string }) => id);
  assert.deepEqual(ids, ["base", "task", "swap"]);
  const parts = report.scenarios.flatMap((one: { rows: unknown[] }) => [one, ...one.rows]);
  for (const { figures, missing } of parts) {
    for (const [name, figure] of Object.entries(figures)) {
      if (figure === null) assert.ok(missing[name].reason);
      else assert.ok((typeof figure === "number" ? figure : (figure as { p50: number }).p50) >= 0);
    }
  }
  await phone.close();
});
