/** Asks each task in turn about a text over one base: `node swap.mjs FOLDER TEXT TASK…`. */

import { classify, EdgeSession } from "osd-edge";
import { textEncoder } from "osd-edge/text";

const [folder, text, ...tasks] = process.argv.slice(2);
const session = await EdgeSession.create(`${folder}/package`, { encoder: textEncoder });
const answers = {};
for (const task of tasks) {
  await session.load(`${folder}/${task}.osd.safetensors`);
  session.activate(task);
  const [answer] = await classify(session, [text]);
  answers[task] = answer.label;
}
console.log(JSON.stringify(answers));
