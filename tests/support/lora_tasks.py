"""A small decoder, a LoRA over it, and rows that the LoRA writes exactly."""

import json
from dataclasses import dataclass
from pathlib import Path

from osd_edge.data.examples import Example
from osd_edge.exporters.compare.comparison import MethodComparison, grid
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.source import Source
from tests.support import decoders, tiny

_TOKENS = 6  # of a completion at most


@dataclass(frozen=True)
class LoraTask:
    """The folders of base and LoRA, and rows; the test's are other rows than the calibration's."""

    base: Path
    lora: Path
    calibration: tuple[Example, ...]
    test: tuple[Example, ...]

    def source(self) -> Source:
        """A fresh source of the task."""
        return Source(
            TaskOptions(
                base=self.base, adapters=[(self.lora, 1.0)], calibration=list(self.calibration)
            )
        )

    def job(self, *methods: str, budgets: tuple[str, ...] = ("8KiB",)) -> MethodComparison:
        """A comparison of methods at budgets."""
        return MethodComparison(
            self.base,
            None,
            self.calibration,
            self.test,
            grid(methods, budgets),
            task="words",
            adapters=[(self.lora, 1.0)],
        )


def make_lora_task(folder: Path) -> LoraTask:
    """Makes the models, and has the LoRA complete random sentences greedily."""
    base = decoders.make_decoder("llama", folder / "base")
    lora = decoders.make_lora(base, folder / "lora")
    prompts = [Example(text) for text in dict.fromkeys(tiny.sentences(36, 5))]
    options = TaskOptions(base=base, adapters=[(lora, 1.0)], calibration=prompts, complete=_TOKENS)
    rows = Source(options).examples
    return LoraTask(base, lora, rows[:20], rows[20:])


def write_rows(file: Path, count: int, seed: int) -> Path:
    """Writes prompts with completions of random words, as a calibration file has them."""
    texts = tiny.sentences(2 * count, seed)
    both = zip(texts[:count], texts[count:], strict=True)
    lines = [json.dumps({"prompt": prompt, "completion": text}) for prompt, text in both]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file
