"""Files that versions of this project wrote, and what a session answers with them."""

import json
from pathlib import Path
from typing import Any

from osd_edge.runtime import EdgeSession

FILES = Path(__file__).parent / "files"
TEXTS = ["the cat sat", "a dog ran over the mat"]


def logits_of(session: EdgeSession, task: str) -> list[Any]:
    """Gives what the session computes for TEXTS with the task: logits, or vectors."""
    output = session.run(session.encode(TEXTS), task=task)
    assert output.logits is not None
    return output.logits.tolist()  # type: ignore[no-any-return]


def expected_of(version: str) -> dict[str, list[Any]]:
    """Gives what each task answered when the version's files were written."""
    text = (FILES / version / "answers.json").read_text("utf-8")
    return dict(json.loads(text))
