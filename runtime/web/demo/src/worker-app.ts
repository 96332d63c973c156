/** What the worker knows: what is offered, installed and open, and what cannot be used. */

import * as ort from "onnxruntime-web/wasm";
import {
  classify,
  type DecodedTask,
  EdgeSession,
  encode,
  type Kind,
  OsdEdgeError,
} from "../../src/core.js";
import { textEncoder } from "../../src/text.js";
import { type Catalogue, fetchCatalogue, type OfferedTask } from "./catalogue.js";
import * as installed from "./installed.js";
import { measure } from "./measure.js";
import type {
  Classified,
  Message,
  Problem,
  Requests,
  State,
  Swap,
  TaskState,
} from "./protocol.js";
import type { Store } from "./store.js";

const THREADS = self.crossOriginIsolated
  ? Math.max(1, Math.min(4, Math.ceil((navigator.hardwareConcurrency || 1) / 2)))
  : 1;
ort.env.wasm.wasmPaths = new URL("ort/", self.location.href).href;
ort.env.wasm.numThreads = THREADS;
ort.env.logLevel = "error";

const LOST = "storage.lost"; // a file that can be got again

/** Kinds of tasks that `classify` is for. */
const SHOWN_KINDS: readonly Kind[] = ["labels", "multi-label", "regression"];

export class App {
  server: State["server"] = "unknown";
  /** What the server offers, where it is online. */
  catalogue: Catalogue | null = null;
  asked = 0;
  base: installed.InstalledBase | null = null;
  session: EdgeSession | null = null;
  problem: Problem | null = null;
  /** Digest of each installed task as it was last seen, and why it cannot be used. */
  readonly seen = new Map<string, { sha256: string; refused: Problem | null }>();
  /** Tasks that were decoded; one that the session dropped and decoded anew is another object. */
  readonly decoded = new WeakSet<DecodedTask>();

  constructor(
    readonly store: Store,
    readonly say: (message: Message) => void,
  ) {}

  /** Ask the server what it offers. */
  async refresh(): Promise<void> {
    const mine = ++this.asked;
    const found = await fetchCatalogue();
    if (mine === this.asked) {
      // An answer that came late is not news.
      this.server = typeof found === "string" ? found : "online";
      this.catalogue = typeof found === "string" ? null : found;
      if (this.catalogue !== null) await installed.dropUnoffered(this.store, this.catalogue);
    }
  }

  /** Bring the session in line with what is installed, whoever changed that. */
  async follow(): Promise<State> {
    const base = await installed.installedBase(this.store);
    if (base?.sha256 !== this.base?.sha256) await this.close();
    this.base = base;
    if (base !== null && this.session === null) await this.open(base);
    const tasks = await installed.installedTasks(this.store);
    for (const [name, { sha256, refused }] of this.seen) {
      const same = tasks.some((task) => task.task === name && task.sha256 === sha256);
      if (!same || refused?.code === LOST) this.drop(name); // it may be here again
    }
    for (const task of tasks) if (!this.seen.has(task.task)) await this.take(task);
    return this.state(tasks);
  }

  async open(base: installed.InstalledBase): Promise<void> {
    this.problem = null;
    try {
      this.session = await EdgeSession.open(
        ort,
        (name) => installed.readBaseFile(this.store, base, name),
        { encoder: textEncoder },
      );
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  async close(): Promise<void> {
    await this.session?.release();
    this.session = null;
    this.seen.clear();
  }

  /** Load an installed task; one that is refused stays, with its reason. */
  async take(task: installed.InstalledTask): Promise<void> {
    let refused: Problem | null = null;
    try {
      this.session?.loadBytes(await installed.readTask(this.store, task), task.task);
    } catch (error) {
      refused = problemOf(error);
    }
    if (this.session !== null) this.seen.set(task.task, { sha256: task.sha256, refused });
  }

  drop(name: string): void {
    if (this.session?.tasks.includes(name)) this.session.unload(name);
    this.seen.delete(name);
  }

  state(tasks: readonly installed.InstalledTask[]): State {
    const offers = this.catalogue?.tasks ?? [];
    const names = new Set([...offers, ...tasks].map(({ task }) => task));
    const list = [...names].map((name): TaskState => {
      const here = tasks.find(({ task }) => task === name);
      const offer = offers.find(({ task }) => task === name);
      const { labels, bytes } = (here ?? offer) as installed.InstalledTask;
      const unshown = offer === undefined ? null : this.#unshown(offer);
      const refused = this.seen.get(name)?.refused ?? (here === undefined ? unshown : null);
      const fits = offer !== undefined && this.#fits(offer);
      // A task that works is not replaced by one for a base that is not here yet.
      const news = offer?.sha256 !== here?.sha256 || refused?.code === LOST;
      const wanted = unshown === null && news && (here === undefined || fits);
      const offered = offer !== undefined && wanted;
      return { task: name, labels, bytes, installed: here !== undefined, refused, offered, fits };
    });
    const offeredBase = this.catalogue?.base;
    const newBase =
      offeredBase !== undefined &&
      (this.session === null || offeredBase.sha256 !== this.base?.sha256);
    return {
      server: this.server,
      lasting: this.store.lasting,
      base: this.base && { name: this.base.name, bytes: this.base.bytes },
      offeredBase: newBase ? { name: offeredBase.name, bytes: offeredBase.bytes } : null,
      ready: this.session !== null,
      tasks: list,
      problem: this.problem,
    };
  }

  async installBase(): Promise<void> {
    const catalogue = this.#online();
    const total = catalogue.base.bytes;
    await installed.installBase(this.store, catalogue, (done) =>
      this.say({ progress: { what: "", done, total } }),
    );
  }

  async installTask(name: string): Promise<void> {
    const offer = this.#online().tasks.find(({ task }) => task === name);
    if (offer === undefined) throw new OsdEdgeError("task.unknown", `The server has no ${name}.`);
    if (!this.#fits(offer)) {
      throw new OsdEdgeError("bundle.base", `${name} is for another base: update the base first.`);
    }
    await installed.installTask(this.store, offer, (done) =>
      this.say({ progress: { what: name, done, total: offer.bytes } }),
    );
  }

  removeTask(name: string): Promise<void> {
    return installed.removeTask(this.store, name);
  }

  #fits({ base }: OfferedTask): boolean {
    return base === this.session?.manifest.fingerprint;
  }

  /** Why an offered task is of no use to this page, known before its bytes are here. */
  #unshown({ task, kind }: OfferedTask): Problem | null {
    if (SHOWN_KINDS.includes(kind)) return null;
    const message = `This page shows labels and numbers, and ${task} gives ${kind}.`;
    return { code: "task.kind", message };
  }

  #online(): Catalogue {
    if (this.catalogue === null) {
      throw new OsdEdgeError("download.broken", "The server cannot be reached. Try again.");
    }
    return this.catalogue;
  }

  opened(): EdgeSession {
    if (this.session === null) throw new OsdEdgeError("base.missing", "There is no base yet.");
    return this.session;
  }

  activate(name: string | null): Swap {
    const session = this.opened();
    const start = performance.now();
    if (name === null) session.deactivate();
    else session.activate(name);
    const ms = performance.now() - start;
    return { task: name, ms, cold: this.#isNew(session.decoded()) };
  }

  /** Whether `task` is not known to be decoded; it is from now on. */
  #isNew(task: DecodedTask | null): boolean {
    const isNew = task !== null && !this.decoded.has(task);
    if (task !== null) this.decoded.add(task);
    return isNew;
  }

  async classify(text: string): Promise<Classified> {
    const session = this.opened();
    const task = session.active;
    if (task === null) throw new OsdEdgeError("task.none", "No task is active.");
    const start = performance.now();
    const [answer] = await classify(session, [text]);
    const ms = performance.now() - start;
    const { dims } = encode(session, [text]);
    return { task, answer: answer!, tokens: dims[1], ms };
  }

  async measure(settings: Requests["measure"]["send"]): Promise<unknown> {
    const { base } = this;
    const session = this.opened();
    const report = await measure(session, {
      ...settings,
      threads: THREADS,
      base: { name: base!.name, bytes: base!.bytes },
      readTask: async (name) => {
        const task = (await installed.installedTasks(this.store)).find((t) => t.task === name);
        return task === undefined ? null : installed.readTask(this.store, task).catch(() => null);
      },
      progress: (measured) => this.say({ measured }),
    });
    for (const task of session.tasks) this.#isNew(session.decoded(task)); // as it left them
    return report;
  }
}

export function problemOf(error: unknown): Problem {
  if (error instanceof OsdEdgeError) return { code: error.code, message: error.message };
  return { code: "page.failed", message: error instanceof Error ? error.message : String(error) };
}
