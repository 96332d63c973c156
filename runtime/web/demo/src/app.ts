/** The page: what a tap does, and what is shown. All work is done by the worker. */

import { Client, Refused } from "./client.js";
import { byId } from "./dom.js";
import { ms, size } from "./format.js";
import { isKept, keepPage, renewPage } from "./kept-page.js";
import { pageMemory, shareReport, showReport } from "./report.js";
import type { Problem, State } from "./protocol.js";
import { recall, remember } from "./remembered.js";
import { filesList, type Progress, showAnswer, showChoices, showUnkept } from "./view.js";

const WAIT_MS = 150; // after the last key, before a message is read
const ROUNDS = 30;
const message = byId<HTMLTextAreaElement>("message");
const measureButton = byId<HTMLButtonElement>("measure");
const shareButton = byId<HTMLButtonElement>("share");
const measured = byId<HTMLProgressElement>("measured");

let state: State | null = null;
let chosen: string | null = recall("task");
let active: string | null = null;
let current = false; // whether the worker is known to have it active
let report: unknown = null;
let busy = false; // measuring
let kept: boolean | null = isKept() || null; // whether the page itself opens without a network; null: not known
let renewed: boolean | null = null; // whether a reload brings a newer page; null: not asked for
const progress: Progress = new Map();

const client = new Client({
  progress(what, done, total) {
    progress.set(what, done / total);
    files.progress(progress);
  },
  measured(share) {
    measured.value = share;
  },
  state: show,
});

const files = filesList(byId("files"), {
  getBase: () => change("", () => client.ask("installBase", null)),
  getTask: (name) => change(name, () => client.ask("installTask", name)).then(persist).catch(() => {}),
  removeTask: (name) => change(name, () => client.ask("removeTask", name)),
});

/** Do what changes the files, with its progress and its refusal shown; `what` is "" for the base. */
async function change(what: string, work: () => Promise<State>): Promise<void> {
  if (progress.has(what)) return;
  progress.set(what, 0);
  complain(null);
  draw();
  try {
    const next = await work();
    progress.delete(what);
    show(next);
  } catch (error) {
    progress.delete(what);
    complain(problemOf(error));
    draw();
  }
}

/** Show what is here and what the server offers, once it has answered or is given up. */
async function refresh(): Promise<void> {
  try {
    show(await client.ask("refresh", null));
  } catch (error) {
    complain(problemOf(error));
  }
}

function show(next: State): void {
  if (next.problem !== null || state?.problem) complain(next.problem); // a new one, or none any more
  state = next;
  if (next.server === "newer" && renewed === null) void renew();
  const usable = next.tasks.filter((task) => task.installed && task.refused === null);
  if (!usable.some(({ task }) => task === chosen)) chosen = usable[0]?.task ?? null;
  draw();
  void storage();
  // What was active may have been replaced: activate it anew.
  current = false;
  void answer();
}

async function renew(): Promise<void> {
  renewed = false;
  await renewPage().catch(() => {}); // a reload tries again
  renewed = true;
  draw();
}

const WORDS = {
  unknown: "Connecting",
  online: "Online",
  offline: "Offline",
  newer: "Older than the server",
} as const;

function draw(): void {
  if (state === null) return;
  const { server, lasting, ready } = state;
  const unkept = !lasting || kept === false;
  showUnkept(byId("unkept"), unkept);
  const words: string[] = [WORDS[server]];
  if (server === "newer") words.push(renewed ? "reload to update" : "getting the update");
  else if (unkept) words.push("not kept, see below");
  else if (kept && ready) words.push(server === "offline" ? "ready" : "works offline");
  byId("status").textContent = words.join(" · ");
  const usable = state.tasks.filter((task) => task.installed && task.refused === null);
  const names = state.ready ? usable.map(({ task }) => task) : [];
  showChoices(byId("choices"), names, chosen, choose);
  files.show(state, progress);
  measureButton.disabled = !state.ready || busy;
}

function choose(name: string): void {
  chosen = name;
  remember("task", name);
  draw();
  void answer();
}

let asked = 0;

/** Swap to the chosen task if another is active, then answer the message. */
async function answer(): Promise<void> {
  const mine = ++asked;
  if (state === null || !state.ready || busy) return;
  try {
    if (!current || active !== chosen) {
      const swap = await client.ask("activate", chosen);
      const swapped = swap.cold || swap.task !== active; // else it was active: no cost to show
      active = swap.task;
      current = true;
      if (swapped) {
        byId("swap-cost").textContent =
          swap.task === null ? "–" : `${ms(swap.ms)}${swap.cold ? ", cold" : ""}`;
      }
    }
    const text = message.value.trim();
    if (mine !== asked) return;
    if (active === null || text === "") {
      showAnswer(null);
      return;
    }
    const result = await client.ask("classify", text);
    if (mine !== asked) return;
    showAnswer(result.answer);
    byId("run-cost").textContent = `${ms(result.ms)}, ${result.tokens} tokens`;
  } catch (error) {
    if (mine === asked) complain(problemOf(error));
  }
}

async function measure(): Promise<void> {
  if (busy) return;
  busy = true;
  draw();
  measured.classList.remove("idle");
  try {
    const memory = await pageMemory();
    if (memory !== null) byId("memory").textContent = size(memory);
    report = await client.ask("measure", { rounds: ROUNDS, memory });
    showReport(byId("report"), report);
    shareButton.disabled = false;
  } catch (error) {
    complain(problemOf(error));
  }
  measured.classList.add("idle");
  busy = false;
  draw();
  void answer(); // what was typed or chosen meanwhile
}

/** With the first task, ask the browser not to drop what is here when room gets short. */
async function persist(): Promise<void> {
  const { storage } = navigator as { storage?: StorageManager };
  if (!state?.lasting || state.tasks.filter((task) => task.installed).length !== 1) return;
  if (!(await storage?.persisted?.())) await storage?.persist?.();
}

async function storage(): Promise<void> {
  const { storage } = navigator as { storage?: StorageManager };
  const estimate = await storage?.estimate?.().catch(() => undefined);
  if (estimate?.usage !== undefined) byId("stored").textContent = size(estimate.usage);
}

function complain(problem: Problem | null): void {
  byId("problem").textContent = problem === null ? "" : `${problem.message} [${problem.code}]`;
}

function problemOf(error: unknown): Problem {
  if (error instanceof Refused) return error.problem;
  return { code: "page.failed", message: error instanceof Error ? error.message : String(error) };
}

let timer = 0;
message.value = recall("message") ?? "";
message.addEventListener("input", () => {
  remember("message", message.value);
  clearTimeout(timer);
  timer = window.setTimeout(answer, WAIT_MS);
});
measureButton.addEventListener("click", () => void measure());
shareButton.addEventListener("click", () => void shareReport(report).catch(() => {}));
measured.classList.add("idle");
for (const name of ["online", "offline"]) window.addEventListener(name, () => void refresh());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") void refresh();
});

void keepPage().then((is) => {
  kept = is;
  draw();
});
// What is here opens at once; what the server offers is added when it answers.
void client.ask("start", null).then(show, (error: unknown) => complain(problemOf(error)));
void refresh();
