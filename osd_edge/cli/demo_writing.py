"""The work of `osd-edge demo --generate`: a base, three LoRAs, three bundles, and their answers.

Each part that is finished is kept in the folder, and taken up by the next run.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osd_edge.cli.bars import bar
from osd_edge.data.digest import file_digest
from osd_edge.data.files import make_folder, write_file
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.demo.writing.kept import KeptParts
from osd_edge.exporters.demo.writing.tasks import WRITING_TASKS, WritingTask, Written, json_lines
from osd_edge.exporters.demo.writing.train import LoraTrainer, LoraTraining
from osd_edge.exporters.demo.writing.wishes import Wish, make_wishes
from osd_edge.exporters.models.adapter_files import ADAPTER_WEIGHTS
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.fingerprint import fingerprint

if TYPE_CHECKING:
    from osd_edge.runtime import EdgeSession

BASE, LORA, BUNDLE = "base", "LoRA", "bundle"  # who answers
_PARTS: tuple[str, ...] = ("train", "calibration", "test")  # of a task's rows


@dataclass(frozen=True)
class WritingScale:
    """The size of the demonstration: rows of each part, the training, tokens of an answer."""

    train: int = 1600
    calibration: int = 256
    test: int = 60
    batch: int = 15  # test rows that are answered at once
    max_tokens: int = 48
    training: LoraTraining = field(default_factory=LoraTraining)
    export: dict[str, Any] = field(default_factory=lambda: {"method": "osd-rd", "refine": "none"})


@dataclass(frozen=True)
class Answers:
    """The answers to the test rows of one task, by who gave them: base, LoRA or bundle."""

    texts: dict[str, list[str]]
    right: dict[str, float]


@dataclass(frozen=True)
class WrittenTask:
    """A task of the demonstration when it is done: its files, their sizes, its answers."""

    task: WritingTask
    rows: list[Written]
    bundle: Path
    lora_bytes: int
    bundle_bytes: int
    answers: Answers

    def as_dict(self) -> dict[str, Any]:
        """The fields for programs."""
        return {
            "task": self.task.name,
            "test_rows": len(self.rows),
            "right": self.answers.right,
            "lora_bytes": self.lora_bytes,
            "bundle_bytes": self.bundle_bytes,
            "bundle": str(self.bundle),
        }


class WritingDemo:
    """The parts of the demonstration in the folder `out`, over the model in `model`.

    Attributes:
        package: The base package.
        test: The wishes of the test, in sentences whose templates no training saw.
    """

    def __init__(self, out: Path, model: Path, budget: str, seed: int, scale: WritingScale) -> None:
        """Draws the rows, and writes them to `out`/data."""
        self._out, self._model, self._budget = out, model, budget
        self._scale = scale
        self._seed = seed
        self._kept = KeptParts(out)
        self._trainer: LoraTrainer | None = None
        wishes = make_wishes(scale.train, scale.calibration, scale.test, seed)
        self.test: tuple[Wish, ...] = wishes.test
        self._rows = {
            task.name: {part: task.rows(getattr(wishes, part)) for part in _PARTS}
            for task in WRITING_TASKS
        }
        for name, parts in self._rows.items():
            make_folder(out / "data" / name)
            for part, rows in parts.items():
                write_file(out / "data" / name / f"{part}.jsonl", json_lines(rows))
        self.package = out / "base"

    @cached_property
    def _fingerprint(self) -> str:
        """The fingerprint of the base, which is read once for it."""
        backbone = backbone_of(Checkpoint(self._model))
        return fingerprint(backbone.checkpoint, list(backbone.parameters), bar)

    def base(self) -> None:
        """Makes the base package, which all tasks share."""

        def make() -> dict[str, Any]:
            there = self.package.exists()
            export_base(self._model, self.package, task="generate", overwrite=there, progress=bar)
            return {}

        key = {"base": self._fingerprint}
        self._kept.part("base-package", key, make, (self.package / "manifest.json",))

    def lora(self, task: WritingTask) -> Path:
        """Trains the LoRA of a task; gives its folder."""
        out = self._out / "lora" / task.name
        rows = self._rows[task.name]["train"]
        training = self._scale.training

        def make() -> dict[str, Any]:
            if self._trainer is None:
                self._trainer = LoraTrainer(self._model)
            return {"losses": self._trainer.train(rows, out, training, bar)}

        key = {"base": self._fingerprint, "training": asdict(training), "rows": _digest(rows)}
        self._kept.part(f"lora/{task.name}-training", key, make, (out / ADAPTER_WEIGHTS,))
        return out

    def bundle(self, task: WritingTask) -> Path:
        """Compresses the LoRA of a task; gives the bundle."""
        self._trainer = None  # half a gigabyte, of use no more
        return self._exported(
            task,
            self._out / "bundles" / f"{task.name}.osd.safetensors",
            {"budget": self._budget, "seed": self._seed} | self._scale.export,
            calibrated=True,
        )

    def whole(self, task: WritingTask) -> Path:
        """Gives the LoRA of a task as a bundle of all its columns, for the session to run it."""
        return self._exported(
            task,
            self._out / "lora" / f"{task.name}.osd.safetensors",
            {"method": "truncsvd", "values": "fp32", "budget": f"r={self._scale.training.rank}"},
        )

    def done(self, task: WritingTask, session: "EdgeSession", base: list[str]) -> WrittenTask:
        """Has a task's LoRA and bundle answer the test rows; `base` are the base's answers.

        The bundle stays loaded, by the task's name.
        """
        rows = self._rows[task.name]["test"]
        bundle, whole = self.bundle(task), self.whole(task)
        session.load(bundle, task.name)
        other = session.load(whole, f"{task.name}-lora")
        texts = {
            BASE: base,
            LORA: self._answers(f"{task.name}-lora", session, other, rows, file_digest(whole)),
            BUNDLE: self._answers(task.name, session, task.name, rows, file_digest(bundle)),
        }
        session.unload(other)
        right = {
            who: sum(text == row.completion for text, row in zip(given, rows, strict=True))
            / len(rows)
            for who, given in texts.items()
        }
        lora_bytes, bundle_bytes = (path.stat().st_size for path in (self._lora_file(task), bundle))
        answers = Answers(texts, right)
        return WrittenTask(task, rows, bundle, lora_bytes, bundle_bytes, answers)

    def answers_of_the_base(self, session: "EdgeSession") -> list[str]:
        """Has the base alone answer the test rows, whose prompts all tasks share."""
        rows = self._rows[WRITING_TASKS[0].name]["test"]
        return self._answers("base", session, None, rows, self._fingerprint)

    def _answers(
        self,
        name: str,
        session: "EdgeSession",
        task: str | None,
        rows: Sequence[Written],
        digest: str,
    ) -> list[str]:
        size, most = self._scale.batch, self._scale.max_tokens

        def make() -> dict[str, Any]:
            prompts = [row.prompt for row in rows]
            starts = range(0, len(prompts), size)
            texts: list[str] = []
            for start in bar(starts, f"Answers of {name}", len(starts)):
                batch = prompts[start : start + size]
                given = session.generate(batch, task=task, max_tokens=most)
                texts += [answer.text for answer in given]
            return {"texts": texts}

        key = {"of": digest, "rows": _digest(rows), "max_tokens": most}
        texts: list[str] = self._kept.part(f"answers/{name}", key, make)["texts"]
        return texts

    def _exported(
        self, task: WritingTask, out: Path, options: dict[str, Any], *, calibrated: bool = False
    ) -> Path:
        lora = self._out / "lora" / task.name

        def make() -> dict[str, Any]:
            make_folder(out.parent)
            given = {"adapters": ((lora, 1.0),), "name": task.name} | options
            if calibrated:
                given["calibration"] = self._out / "data" / task.name / "calibration.jsonl"
            return {"bytes": export_task(self._model, None, out, progress=bar, **given).size}

        key = {"lora": file_digest(self._lora_file(task)), "options": options}
        if calibrated:
            key["rows"] = _digest(self._rows[task.name]["calibration"])
        self._kept.part(str(out.relative_to(self._out)), key, make, (out,))
        return out

    def _lora_file(self, task: WritingTask) -> Path:
        return self._out / "lora" / task.name / ADAPTER_WEIGHTS


def _digest(rows: Sequence[Written]) -> str:
    return hashlib.sha256(json_lines(rows)).hexdigest()
