/** What the page and its worker say to each other. */

import type { Answer } from "../../src/core.js";

/** A task in the list: offered, installed, or both. */
export interface TaskState {
  readonly task: string;
  readonly labels: readonly string[];
  readonly bytes: number;
  readonly installed: boolean;
  /** Why an installed task cannot be used, or one that is offered not shown: a code and a message. */
  readonly refused: Problem | null;
  /** Whether the server has it: not installed yet or lost, or another version than that. */
  readonly offered: boolean;
  /** Whether what is offered was made for the base that is open. */
  readonly fits: boolean;
}

export interface Problem {
  readonly code: string;
  readonly message: string;
}

export interface State {
  /** What the server answers: nothing, or what a newer page reads; unknown until it is given up. */
  readonly server: "unknown" | "online" | "offline" | "newer";
  /** Whether the browser keeps files after the page was closed. */
  readonly lasting: boolean;
  readonly base: { readonly name: string; readonly bytes: number } | null;
  /** A base to get: none is installed or it cannot be opened, or the server has another. */
  readonly offeredBase: { readonly name: string; readonly bytes: number } | null;
  readonly ready: boolean;
  readonly tasks: readonly TaskState[];
  readonly problem: Problem | null;
}

export interface Swap {
  readonly task: string | null;
  readonly ms: number;
  /** Whether the task had to be decoded first. */
  readonly cold: boolean;
}

export interface Classified {
  readonly task: string;
  readonly answer: Answer;
  readonly tokens: number;
  readonly ms: number;
}

export interface MeasureSettings {
  /** Rounds of each thing that is timed. */
  readonly rounds: number;
  /** Memory of the page as it was before, where the browser tells; bytes. */
  readonly memory: number | null;
}

/** Requests by name: what is sent, what comes back. */
export interface Requests {
  /** Open what is installed. */
  start: { send: null; give: State };
  /** The same once the server was asked what it offers. */
  refresh: { send: null; give: State };
  installBase: { send: null; give: State };
  installTask: { send: string; give: State };
  removeTask: { send: string; give: State };
  activate: { send: string | null; give: Swap };
  classify: { send: string; give: Classified };
  measure: { send: MeasureSettings; give: unknown };
}

export type RequestName = keyof Requests;

export interface Request<N extends RequestName = RequestName> {
  readonly id: number;
  readonly name: N;
  readonly value: Requests[N]["send"];
}

export type Message =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly problem: Problem }
  /** Bytes of a download so far; `what` is "" for the base, else a task's name. */
  | { readonly progress: { readonly what: string; readonly done: number; readonly total: number } }
  | { readonly measured: number }
  | { readonly state: State };
