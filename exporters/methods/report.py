"""The report of an export, for people and programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from osd_edge.exporters.methods.gain import CurvePoint
from osd_edge.exporters.scoring.score import Score


@dataclass(frozen=True)
class TaskReport:
    """The report of an export. Sizes are in bytes.

    `paper_bits` is the paper's count μ over all sites, `paper_bits_allowed` what a budget `r=…`
    allows; None for methods that the paper does not have. Scores are on the calibration set,
    None without one: `fine_tuned` as the model came, `linear_only` without its deltas of
    embeddings, biases and LayerNorms (what leaving them out costs), `compressed` as the bundle
    gives it. osd-rd scores on the rows held back, which nothing was tuned on, and has
    `frozen_head` too: a head on the frozen base, the floor. `curve` is what `keep` has tried.
    `base_weights` are those of the package that osd-rd tuned for and scored with.
    `adapter_size` is that of the adapters' weights, where the task came as adapters.
    """

    path: str
    task: str
    method: str
    budget: str
    values: str
    extra_rank: int | None
    size: int
    head_size: int
    delta_size: int
    paper_bits: int | None
    paper_bits_allowed: int | None
    sites: int
    calibration_examples: int
    labelled: bool
    fine_tuned: Score | None
    linear_only: Score | None
    compressed: Score | None
    refine: str | None = None
    keep: float | None = None
    held_back: int = 0
    frozen_head: Score | None = None
    share: float | None = None
    share_error: float | None = None
    curve: Sequence[CurvePoint] = ()
    base_weights: str = "fp32"
    adapter_size: int | None = None

    @property
    def needs_no_delta(self) -> bool:
        """Whether a frozen head is as good as the fine-tuned model, within the rows' noise."""
        if self.frozen_head is None or self.fine_tuned is None or self.held_back < 50:
            return False
        gap = self.fine_tuned.accuracy - self.frozen_head.accuracy
        p = min(max(self.frozen_head.accuracy, 0.5), 1 - 1 / self.held_back)
        return bool(gap <= (p * (1 - p) / self.held_back) ** 0.5)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self) | {"needs_no_delta": self.needs_no_delta}
