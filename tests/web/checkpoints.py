"""Tasks of the four classifiers that were really fine-tuned, over MiniLM, with Python's logits."""

import json
import sys
from pathlib import Path

from osd_edge.data.examples import read_examples
from osd_edge.exporters import export_task
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.runtime import EdgeSession
from tests.support.shared import CHECKPOINTS, SHARED

_TEXTS = 8  # of each test set, evenly spaced


def write_checkpoints(folder: Path) -> None:
    """Bundles over `folder`/minilm and `checkpoints.json`; nothing without ../shared."""
    if not (SHARED / "checkpoints").is_dir():
        print("no ../shared/checkpoints: without fixtures of real tasks", file=sys.stderr)
        return
    session = EdgeSession(folder / "minilm", threads=1)
    texts: list[str] = []
    for name in CHECKPOINTS:
        bundle = folder / f"checkpoint-{name}.osd.safetensors"
        tuned = SHARED / "checkpoints" / name
        export_task(minilm_folder(), tuned, bundle, name=name, refine="none", budget="16KiB")
        session.load(bundle)
        rows = read_examples(SHARED / "data" / name / "test.tsv")
        texts += [row.text for row in rows[:: len(rows) // _TEXTS][:_TEXTS]]
    cases = []
    for text in texts:
        inputs = session.encode([text])
        runs = {task: session.run(inputs, task=task).logits for task in CHECKPOINTS}
        logits = {task: None if x is None else x[0].tolist() for task, x in runs.items()}
        cases.append({"text": text, "ids": inputs["input_ids"][0].tolist(), "logits": logits})
    expected = {"tasks": CHECKPOINTS, "cases": cases}
    (folder / "checkpoints.json").write_text(json.dumps(expected, ensure_ascii=False), "utf-8")
