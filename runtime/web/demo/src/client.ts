/** The page's side of the worker: a promise for each request, callbacks for what comes unasked. */

import type { Message, Problem, Request, RequestName, Requests, State } from "./protocol.js";

export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.message);
  }
}

export interface Events {
  progress(what: string, done: number, total: number): void;
  measured(share: number): void;
  state(state: State): void;
}

export class Client {
  readonly #worker = new Worker("worker.js", { type: "module" });
  readonly #waiting = new Map<number, [(value: never) => void, (reason: unknown) => void]>();
  #last = 0;
  #failure: Refused | null = null;

  constructor(events: Events) {
    this.#worker.onmessage = ({ data }: MessageEvent<Message>): void => {
      if ("progress" in data) {
        const { what, done, total } = data.progress;
        events.progress(what, done, total);
      } else if ("measured" in data) {
        events.measured(data.measured);
      } else if ("state" in data) {
        events.state(data.state);
      } else {
        const [resolve, reject] = this.#waiting.get(data.id)!;
        this.#waiting.delete(data.id);
        if ("problem" in data) reject(new Refused(data.problem));
        else resolve(data.value as never);
      }
    };
    this.#worker.onerror = (event): void => {
      const message = event.message || "A part of the page stopped: reload it.";
      this.#failure = new Refused({ code: "page.failed", message });
      this.#worker.terminate(); // no answer comes late
      for (const [, reject] of this.#waiting.values()) reject(this.#failure);
      this.#waiting.clear();
    };
  }

  ask<N extends RequestName>(name: N, value: Requests[N]["send"]): Promise<Requests[N]["give"]> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, [resolve, reject]);
      this.#worker.postMessage({ id, name, value } satisfies Request<N>);
    });
  }
}
