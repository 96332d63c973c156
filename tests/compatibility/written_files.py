"""Base packages and bundles as this version of the project writes them.

`python -m tests.compatibility.written_files` writes `files/<version>/` beside this file: base
packages of one model, BASES, a bundle for each of BUNDLES, and `answers.json`, what a session
answers with them. A version's folder is never made again once that version is released.
"""

import json
from pathlib import Path
from typing import Any

from osd_edge import __version__
from osd_edge.exporters import export_base, export_task
from osd_edge.runtime import EdgeSession
from tests.compatibility.answers import FILES, logits_of
from tests.compatibility.saved_models import FIRST, MODELS
from tests.support import tiny
from tests.support.kinds import KINDS, make_embedding

# By the folder's name: the options of a base package.
BASES: dict[str, dict[str, Any]] = {
    "base": {},
    "base-fp16-factors": {"factors": "fp16"},
}
# By the task's name: the kind that it is of, and the options of its export.
BUNDLES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("labels", {"method": "truncsvd", "budget": "r=2", "values": "fp16"}),
    "sparse": ("labels", {"method": "magtruncsvd", "budget": "r=1", "values": "int8"}),
    "coded": ("labels", {"budget": "6KiB", "refine": "none"}),
    "head-alone": ("labels", {"method": "head"}),
    "multi-label": ("multi-label", {"budget": "6KiB", "refine": "none"}),
    "regression": ("regression", {"budget": "6KiB", "refine": "none"}),
    "token-labels": ("token-labels", {"budget": "6KiB", "refine": "none"}),
    "spans": ("spans", {"budget": "6KiB", "refine": "none"}),
    "embedding": ("embedding", {"budget": "6KiB", "refine": "none"}),
}


def main(scratch: Path) -> None:
    """Write the files of this version; `scratch` is for models on the way."""
    out = FILES / __version__
    base = MODELS / FIRST / "bert" / "base"
    for name, base_options in BASES.items():
        export_base(base, out / name, **base_options)
    session = EdgeSession(out / "base", threads=1)
    calibration = tiny.write_tsv(scratch / "texts.tsv", 40)
    answers = {}
    for task, (kind, options) in BUNDLES.items():
        tuned = scratch / kind
        if kind == "labels":
            tuned = MODELS / FIRST / "bert" / "tuned"
        elif kind == "embedding" and not tuned.exists():
            make_embedding(base, tuned)
        elif not tuned.exists():
            model, settings = KINDS[kind]
            tiny.make_tuned(base, tuned, task=model, size=0.2, **settings)
        if task == "head-alone":
            options = options | {"calibration": calibration}
        path = out / f"{task}.osd.safetensors"
        export_task(base, tuned, path, name=task, **options)
        session.load(path)
        answers[task] = logits_of(session, task)
    (out / "answers.json").write_text(json.dumps(answers) + "\n", "utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
