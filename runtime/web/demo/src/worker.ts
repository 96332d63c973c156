/** The worker: takes the page's requests, so that the page never waits, and answers them. */

import { named } from "./names.js";
import type { Message, Request, RequestName, Requests, State } from "./protocol.js";
import { openStore } from "./store.js";
import { App, problemOf } from "./worker-app.js";

type Change = "refresh" | "installBase" | "installTask" | "removeTask";
type Turn = Exclude<RequestName, Change>;
type Handler<N extends RequestName, Result> = (app: App, value: Requests[N]["send"]) => Result;

/** Done at once, since what comes over the network must not hold up an answer; the session follows. */
const changes: { [N in Change]: Handler<N, Promise<void>> } = {
  refresh: (app) => app.refresh(),
  installBase: (app) => app.installBase(),
  installTask: (app, name) => app.installTask(name),
  removeTask: (app, name) => app.removeTask(name),
};

/** Done one after the other, so that nothing sees a session half changed. */
const turns: { [N in Turn]: Handler<N, Requests[N]["give"] | Promise<Requests[N]["give"]>> } = {
  start: (app) => app.follow(),
  activate: (app, name) => app.activate(name),
  classify: (app, text) => app.classify(text),
  measure: (app, settings) => app.measure(settings),
};

const opened = openStore().then((store) => new App(store, say));
const others = "BroadcastChannel" in self ? new BroadcastChannel(named("changes")) : null;
let queue: Promise<unknown> = Promise.resolve();

function inTurn<T>(work: (app: App) => Promise<T> | T): Promise<T> {
  const result = queue.then(() => opened).then(work);
  queue = result.catch(() => {});
  return result;
}

function follow(): Promise<State> {
  return inTurn((app) => app.follow());
}

async function change(name: Change, value: unknown): Promise<State> {
  const app = await opened;
  try {
    await (changes[name] as Handler<Change, Promise<void>>)(app, value as never);
  } catch (error) {
    if (problemOf(error).code === "download.gone") {
      await app.refresh(); // show what the server has now
      say({ state: await follow() });
    }
    throw error;
  }
  if (name !== "refresh") others?.postMessage("changed");
  return follow();
}

function say(message: Message): void {
  self.postMessage(message);
}

self.onmessage = async ({ data: { id, name, value } }: MessageEvent<Request>): Promise<void> => {
  try {
    const done =
      name in changes
        ? change(name as Change, value)
        : inTurn((app) => (turns[name as Turn] as Handler<Turn, unknown>)(app, value as never));
    say({ id, value: await done });
  } catch (error) {
    say({ id, problem: problemOf(error) });
  }
};

// Another tab installed or removed something.
others?.addEventListener("message", () => void follow().then((state) => say({ state })));
