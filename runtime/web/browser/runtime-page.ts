/** An empty page in Chromium that imports the package itself, with files of a folder beside it. */

import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { type Browser, devices, type Page } from "playwright-core";
import { openBrowser } from "./phone.js";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
const ORT = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
const TYPES: Record<string, string> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
const ENTRY = `
  export * from "./index.js";
  export { textEncoder } from "./text.js";
  export * as ort from "onnxruntime-web/wasm";`;

/** What `/runtime.js` exports: the package, its text encoder, and onnxruntime to set up. */
export type Runtime = typeof import("../src/index.js") &
  typeof import("../src/text.js") & { ort: { env: { wasm: { wasmPaths: string } } } };

export class RuntimePage {
  private constructor(
    readonly server: Server,
    readonly browser: Browser,
    readonly page: Page,
  ) {}

  /** Open it with the profile of a Pixel 7; `/ort/` is onnxruntime's, all else is in `folder`. */
  static async open(folder: string): Promise<RuntimePage> {
    const { outputFiles } = await build({
      stdin: { contents: ENTRY, resolveDir: SOURCE, loader: "ts" },
      bundle: true,
      write: false,
      format: "esm",
      target: "es2022",
      conditions: ["onnxruntime-web-use-extern-wasm"],
    });
    const runtime = outputFiles[0]!.contents;
    const server = createServer(({ url }, response) => {
      const path = url!.slice(1);
      response.setHeader("Content-Type", TYPES[/\.\w+$/.exec(path)?.[0] ?? ""] ?? "text/html");
      try {
        if (path === "") response.end("<!doctype html>");
        else if (path === "runtime.js") response.end(runtime);
        else if (path.startsWith("ort/")) response.end(readFileSync(join(ORT, path.slice(4))));
        else response.end(readFileSync(join(folder, path)));
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const browser = await openBrowser();
    const page = await browser.newPage(devices["Pixel 7"]);
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    return new RuntimePage(server, browser, page);
  }

  async close(): Promise<void> {
    await this.browser.close();
    this.server.close();
    this.server.closeAllConnections();
  }
}
