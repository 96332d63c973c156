/** A phone: Debian's Chromium with a phone's profile, and what a person does on the page. */

import { type Browser, type BrowserContext, chromium, devices, type Page } from "playwright-core";

const WAIT_MS = 120_000; // a busy machine is slow, and no reason to fail
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function openBrowser(...more: string[]): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: [...ARGUMENTS, ...more] });
}

/** A page of a phone, with the mistakes that it told of on its console. */
export class Phone {
  readonly mistakes: string[] = [];

  private constructor(
    readonly context: BrowserContext,
    readonly page: Page,
  ) {
    page.setDefaultTimeout(WAIT_MS);
    page.on("pageerror", (error) => this.mistakes.push(error.message));
  }

  static async with(
    browser: Browser,
    options: Parameters<Browser["newContext"]>[0] & { profile?: string } = {},
  ): Promise<Phone> {
    const { profile = "Pixel 7", ...rest } = options;
    const context = await browser.newContext({ ...devices[profile], ...rest });
    return new Phone(context, await context.newPage());
  }

  /** Another tab of the same phone. */
  async tab(): Promise<Phone> {
    return new Phone(this.context, await this.context.newPage());
  }

  async visit(address: string): Promise<void> {
    await this.page.goto(address);
    await this.page.locator("#files li").first().waitFor();
  }

  /** Wait until a reload without a network would find the page. */
  async keptOffline(): Promise<void> {
    await this.page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  }

  async getBase(): Promise<void> {
    await this.page.getByRole("button", { name: /^Get the base/ }).click();
    await this.page.getByText("shared by all tasks").waitFor();
  }

  async add(...tasks: string[]): Promise<void> {
    for (const task of tasks) {
      await this.page.getByRole("button", { name: `Add ${task}` }).click();
      await this.page.getByRole("button", { name: `Remove ${task}` }).waitFor();
    }
  }

  async choose(task: string): Promise<void> {
    await this.page.locator("#choices").getByRole("button", { name: task, exact: true }).click();
  }

  async type(text: string): Promise<void> {
    await this.page.getByLabel("Message").fill(text);
  }

  /** Wait for the answer `label`. */
  async answers(label: string): Promise<void> {
    await this.page.locator("#label").getByText(label, { exact: true }).waitFor();
  }

  /** Wait for a refusal with this code. */
  async refuses(code: string): Promise<void> {
    await this.page.locator("#problem").getByText(`[${code}]`).waitFor();
  }

  /** The Cache Storage that the page keeps files in. */
  cacheName(): string {
    return `osd-edge files-1 ${new URL(".", this.page.url()).pathname}`;
  }

  /** Keys of what the page keeps. */
  stored(): Promise<string[]> {
    return this.page.evaluate(async (name) => {
      const cache = await caches.open(name);
      return (await cache.keys()).map(({ url }) => new URL(url).pathname);
    }, this.cacheName());
  }

  /** What the page has noted of the base or a task. */
  record(name: string): Promise<{ sha256: string }> {
    return this.page.evaluate(
      async ([cache, name]) =>
        (await (await caches.open(cache!)).match(`/-/record/${name}`))!.json(),
      [this.cacheName(), name],
    );
  }

  async close(): Promise<void> {
    await this.context.close();
  }
}
