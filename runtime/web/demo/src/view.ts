/** What the page shows: choices, the answer, and the list of what is installed. */

import type { Answer } from "../../src/core.js";
import { byId, element } from "./dom.js";
import { size } from "./format.js";
import type { State, TaskState } from "./protocol.js";

/** Share of each download that runs: "" is the base, else a task's name. */
export type Progress = Map<string, number>;

const SHOWN_SCORES = 3;

export function showChoices(
  box: HTMLElement,
  names: readonly string[],
  chosen: string | null,
  choose: (name: string) => void,
): void {
  const focused = document.activeElement instanceof HTMLButtonElement && box.contains(document.activeElement);
  const buttons = names.map((name) => {
    const button = element("button", { type: "button", textContent: name });
    button.setAttribute("aria-pressed", String(name === chosen));
    button.addEventListener("click", () => choose(name));
    return button;
  });
  box.replaceChildren(...buttons);
  if (names.length === 0) box.append(element("p", { textContent: "No task is here yet." }));
  if (focused) buttons[names.indexOf(chosen ?? "")]?.focus();
}

export function showAnswer(answer: Answer | null): void {
  byId("label").textContent = answer?.label ?? "–";
  if (answer === null) byId("run-cost").textContent = "–";
  const scores = Object.entries(answer?.scores ?? {}).sort(([, a], [, b]) => b - a);
  byId("scores").replaceChildren(
    ...scores.slice(0, SHOWN_SCORES).map(([label, score]) => {
      const bar = element("i");
      bar.style.width = `${100 * score}%`;
      const percent = element("span", { textContent: `${(100 * score).toFixed(1)} %` });
      return element("li", {}, bar, element("span", { textContent: label }), percent);
    }),
  );
}

/** Say how to have the page kept, where the browser keeps nothing for it. */
export function showUnkept(box: HTMLElement, unkept: boolean): void {
  box.hidden = !unkept;
  const port = location.port || "80";
  byId("unkept-adb").textContent = `adb reverse tcp:${port} tcp:${port}`;
  byId("unkept-local").textContent = `http://localhost:${port}${location.pathname}`;
  byId("unkept-origin").textContent = location.origin;
}

export interface Actions {
  getBase(): void;
  getTask(name: string): void;
  removeTask(name: string): void;
}

/** The list of the base and the tasks, each with its bytes, its button and its progress. */
export function filesList(
  list: HTMLElement,
  actions: Actions,
): { show(state: State, progress: Progress): void; progress(progress: Progress): void } {
  const bars = new Map<string, HTMLProgressElement>();

  const row = (what: string, name: string, note: HTMLElement, ...buttons: Node[]): HTMLElement => {
    const bar = element("progress", { max: 1, value: 0, className: "idle" });
    bar.setAttribute("aria-label", `Getting ${name}`);
    bars.set(what, bar);
    const text = element("div", {}, element("b", { textContent: name }), note);
    const made = element("li", {}, text, element("div", {}, ...buttons), bar);
    made.dataset.what = what;
    return made;
  };

  const button = (text: string, label: string, busy: boolean, act: () => void): HTMLButtonElement => {
    const made = element("button", { type: "button", textContent: text });
    made.setAttribute("aria-label", label);
    // Not `disabled`, which would take the focus from who has just pressed it.
    made.setAttribute("aria-disabled", String(busy));
    made.addEventListener("click", act);
    return made;
  };

  const baseRow = ({ base, offeredBase, ready }: State, progress: Progress): HTMLElement => {
    const name = `Base ${offeredBase?.name ?? base?.name ?? ""}`;
    const bytes = size(offeredBase?.bytes ?? base?.bytes ?? 0);
    const words = ready ? `${bytes}, shared by all tasks` : `${bytes}, once for all tasks`;
    const note = element("small", { textContent: offeredBase && ready ? `New: ${words}` : words });
    if (offeredBase === null) return row("", name, note);
    const busy = progress.has("");
    const text = ready ? "Update" : "Get";
    const get = button(text, `${text} the base, ${bytes}`, busy, actions.getBase);
    get.classList.add("main");
    return row("", name, note, get);
  };

  const taskRow = (task: TaskState, progress: Progress, ready: boolean): HTMLElement => {
    const note = element("small", { textContent: `${size(task.bytes)}, ${task.labels.length} labels` });
    if (ready && task.offered && !task.fits) note.textContent += ", for the new base";
    if (task.refused !== null) {
      note.textContent = `Not usable: ${task.refused.message} [${task.refused.code}]`;
      note.className = "refused";
    }
    const busy = progress.has(task.task);
    const buttons = [];
    if (task.offered) {
      const text = task.installed ? "Update" : "Add";
      const act = (): void => actions.getTask(task.task);
      const get = button(text, `${text} ${task.task}`, busy, act);
      get.disabled = !task.fits;
      buttons.push(get);
    }
    if (task.installed) {
      const act = (): void => actions.removeTask(task.task);
      buttons.push(button("Remove", `Remove ${task.task}`, busy, act));
    }
    return row(task.task, task.task, note, ...buttons);
  };

  /** Put the focus where it was: on the row's button of that name, else its first, else the list. */
  const refocus = (rows: readonly HTMLElement[], what: string | undefined, text: string | null): void => {
    const row = rows.find((one) => one.dataset.what === what);
    const buttons = [...(row?.querySelectorAll("button") ?? [])].filter(({ disabled }) => !disabled);
    const next = buttons.find(({ textContent }) => textContent === text) ?? buttons[0] ?? list;
    next.focus({ preventScroll: true });
  };

  return {
    show(state, progress) {
      const focused = list.querySelector(":focus");
      const rows: HTMLElement[] = [];
      if (state.base !== null || state.offeredBase !== null) rows.push(baseRow(state, progress));
      rows.push(...state.tasks.map((task) => taskRow(task, progress, state.ready)));
      if (rows.length === 0 && (state.server === "offline" || state.server === "newer")) {
        const why = state.server === "offline" ? "cannot be reached" : "is newer than this page";
        const note = element("small", { textContent: `The server ${why}.` });
        rows.push(row("", "Nothing yet", note));
      }
      const what = focused?.closest("li")?.dataset.what;
      list.replaceChildren(...rows);
      this.progress(progress);
      if (focused !== null) refocus(rows, what, focused.textContent);
    },
    progress(progress) {
      for (const [what, bar] of bars) {
        bar.classList.toggle("idle", !progress.has(what));
        bar.value = progress.get(what) ?? 0;
      }
    },
  };
}
