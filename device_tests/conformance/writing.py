"""The cases of a small decoder: the tokens that it writes, with a task and without."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osd_edge.device_tests.conformance.cases import ConformanceCase, same
from osd_edge.device_tests.conformance.hashes import decoded_sha256
from osd_edge.device_tests.data import DECODER_EXPECTED
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.package.manifest_reader import check_digests
from osd_edge.runtime import EdgeSession


def writing_cases(folder: Path) -> list[ConformanceCase]:
    """Lists the cases of the base package and the bundles in `folder`."""
    recorded = json.loads((folder / DECODER_EXPECTED.name).read_text("utf-8"))
    prompts: list[list[int]] = recorded["prompts"]
    session = EdgeSession(folder, threads=1)
    cases: list[ConformanceCase] = [
        ("decoder/files", "their digests", lambda: check_digests(folder, session.manifest)),
        (
            "decoder/no-task",
            "the recorded tokens",
            lambda: _check_written(session, prompts, [None] * len(prompts), recorded["tokens"]),
        ),
    ]

    def add(entry: dict[str, Any]) -> None:
        path = folder / entry["file"]
        name = f"decoder/{entry['task']}"
        cases.append(
            (
                f"{name}/decode",
                entry["decoded_sha256"],
                lambda: same(entry["decoded_sha256"], decoded_sha256(read_bundle_file(path))),
            )
        )
        check = lambda: _check_task(session, path, prompts, recorded["tokens"], entry)  # noqa: E731
        cases.append((f"{name}/tokens", "the recorded tokens", check))

    for entry in recorded["bundles"]:
        add(entry)
    return cases


def _check_task(
    session: EdgeSession,
    path: Path,
    prompts: list[list[int]],
    of_base: list[list[int]],
    entry: dict[str, Any],
) -> None:
    """Writes by the task, then by the task and the base beside each other in one batch."""
    name = session.load(path)
    try:
        _check_written(session, prompts, [name] * len(prompts), entry["tokens"])
        tasks = [name, *[None] * (len(prompts) - 1)]
        _check_written(session, prompts, tasks, [entry["tokens"][0], *of_base[1:]])
    finally:
        session.unload(name)


def _check_written(
    session: EdgeSession,
    prompts: list[list[int]],
    tasks: Sequence[str | None],
    expected: list[list[int]],
) -> None:
    answers = session.generate(prompts, tasks=tasks, max_tokens=len(expected[0]))
    same(expected, [list(answer.tokens) for answer in answers])
