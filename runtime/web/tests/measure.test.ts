/** The page's measurement, where it fails. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { measure } from "../demo/src/measure.js";
import { EdgeSession } from "../src/node.js";
import { FIXTURES, fixture } from "./fixtures.js";

test("a measurement that fails leaves the tasks as they were, and the same one active", async () => {
  const bundle = (task: string): Uint8Array => fixture(`base-${task}.osd.safetensors`);
  const session = await EdgeSession.create(fileURLToPath(new URL("base", FIXTURES)));
  const tasks = ["first", "second"];
  for (const task of tasks) await session.load(bundle(task));
  session.activate("second");
  const activate = session.activate.bind(session);
  session.activate = (name) => {
    activate(name);
    if (!tasks.includes(name)) throw new Error("no memory for one more");
  };
  const measuring = measure(session, {
    rounds: 1,
    threads: 1,
    memory: null,
    base: { name: "base", bytes: 1 },
    readTask: async (name) => bundle(name),
    progress() {},
  });
  await assert.rejects(measuring, /no memory/);
  assert.deepEqual(session.tasks, tasks);
  assert.equal(session.active, "second");
  await session.release();
});
