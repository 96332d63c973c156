/** A real `osd-edge serve`, and a proxy before it that can stop, damage and cut what it passes on. */

import { type ChildProcess, spawn } from "node:child_process";
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

/** The `osd-edge` command. */
export const COMMAND =
  process.env.OSD_EDGE ?? fileURLToPath(new URL("../../../../.venv/bin/osd-edge", import.meta.url));
const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));

/** A served base with its tasks; `port` is a free one of this machine. */
export class Served {
  private constructor(
    readonly port: number,
    readonly process: ChildProcess,
  ) {}

  /** Serve fixture base `name`, with tasks `tasks`, of which `kind-…` are over "base" alone. */
  static start(name: string, tasks: readonly string[]): Promise<Served> {
    const of = name === "base" || name === "other" ? name : "minilm";
    const bundles = tasks.flatMap((task) => [
      "--bundle",
      `${FIXTURES}${task.startsWith("kind-") ? task : `${of}-${task}`}.osd.safetensors`,
    ]);
    const child = spawn(COMMAND, ["serve", "--base", FIXTURES + name, ...bundles, "--port", "0"]);
    return new Promise((resolve, reject) => {
      let said = "";
      child.stderr.on("data", (text) => (said += text));
      child.stdout.on("data", (text) => {
        const port = /^http:\/\/127\.0\.0\.1:(\d+)\//.exec(String(text))?.[1];
        if (port !== undefined) resolve(new Served(Number(port), child));
      });
      child.on("exit", () => reject(new Error(`osd-edge serve stopped: ${said}`)));
    });
  }

  stop(): void {
    this.process.removeAllListeners("exit");
    this.process.kill();
  }
}

/** What to do to an answer: pass its bytes through `change`, cut it after so many, or hold it. */
export interface Fault {
  /** Part of the address that it is for. */
  readonly path: string;
  readonly change?: (bytes: Buffer) => void;
  readonly cutAfter?: number;
  /** Answer with this status, once and again. */
  readonly status?: number;
  /** Fall silent in the place of a cut, or at once, with the connection left open. */
  readonly silent?: boolean;
  /** Stop the whole proxy when it cuts. */
  readonly thenStop?: boolean;
}

export class Proxy {
  #server: Server | null = null;
  #port = 0;
  readonly asked: { path: string; range: string | undefined }[] = [];
  fault: Fault | null = null;
  /** Where the site is, for example "/sub". */
  below = "";
  /** Pass on no header of the server's but the type, as a web server that is set up for nothing. */
  plain = false;

  constructor(public served: Served) {}

  get address(): string {
    return this.addressAt("127.0.0.1");
  }

  /** The address for a browser that finds this machine by the name `host`. */
  addressAt(host: string): string {
    return `http://${host}:${this.#port}/`;
  }

  /** Listen, at the same port every time. */
  async start(): Promise<void> {
    this.#server = createServer((ask, answer) => this.#pass(ask, answer));
    await new Promise<void>((resolve) => this.#server!.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Stop: whoever connects is refused. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  #pass(ask: IncomingMessage, answer: ServerResponse): void {
    if (!ask.url!.startsWith(`${this.below}/`)) return void answer.writeHead(404).end();
    const path = ask.url!.slice(this.below.length);
    this.asked.push({ path, range: ask.headers.range });
    const { method } = ask;
    // As a proxy before a server on loopback has to: it answers to its own names alone.
    const headers = { ...ask.headers, host: `127.0.0.1:${this.served.port}` };
    delete headers["if-none-match"]; // what is changed here is not what the server knows it by
    const fault = this.fault !== null && path.includes(this.fault.path) ? this.fault : null;
    if (fault?.silent === true && fault.cutAfter === undefined) return;
    if (fault?.status !== undefined) return void answer.writeHead(fault.status).end();
    let cut = false;
    const onward = request({ port: this.served.port, path, method, headers }, (found) => {
      const type = found.headers["content-type"] ?? "";
      answer.writeHead(found.statusCode!, this.plain ? { "content-type": type } : found.headers);
      let passed = 0;
      found.on("data", (bytes: Buffer) => {
        fault?.change?.(bytes);
        passed += bytes.length;
        if (fault?.cutAfter !== undefined && passed > fault.cutAfter) {
          this.fault = null; // once: the next attempt gets through
          cut = true;
          if (fault.silent !== true) answer.socket?.destroySoon(); // once what was written is sent
          onward.destroy();
          if (fault.thenStop === true) void this.stop();
          return;
        }
        answer.write(bytes);
      });
      found.on("end", () => answer.end());
    });
    onward.on("error", () => {
      if (!cut && fault?.silent !== true) answer.destroy();
    });
    onward.end();
  }
}
