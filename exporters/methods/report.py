"""The report of an export, for people and programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from osd_edge.exporters.methods.gain import CurvePoint
from osd_edge.exporters.scoring.familiar_rows import RowFamiliarity
from osd_edge.exporters.scoring.score import Score, is_less


@dataclass(frozen=True)
class TaskReport:
    """The report of an export. Sizes are in bytes, scores on the calibration set.

    Args:
        path: the bundle's file.
        task: the task's name.
        method: the method's name.
        budget: the budget as text; empty where there was none.
        values: the type of the delta's values, `coded` for small integers.
        extra_rank: c in k = r + c, None for methods without one.
        size: bytes of the file.
        head_size: bytes of the file without its delta.
        delta_size: bytes that the delta adds, with changed biases and norms.
        paper_bits: the paper's count μ over all sites, None for methods that it does not have.
        paper_bits_allowed: the bits that a budget `r=…` allows.
        sites: linear layers with a delta.
        calibration_examples: calibration rows.
        labelled: whether scores are against labels.
        fine_tuned: the score of the model as it came; None without rows, as are those that follow.
        linear_only: the score without the deltas of embeddings, biases and LayerNorms: what
            leaving them out costs. With those of biases and norms where bundles have vectors.
        compressed: the score of the bundle.
        refine: what was trained.
        keep: the share of the gain that was asked for.
        keep_by: what the gain is counted in: `right` answers, or `nats`.
        held_back: rows that scored and that nothing was tuned on.
        frozen_head: the score of a head on the frozen base, the floor; of a task that writes, of
            the base alone.
        share: the share of the gain over the floor that the bundle keeps.
        share_error: the standard error of that share; None where it is counted in nats.
        curve: the sizes that `keep` has tried.
        base_weights: the weights of the package that was tuned for and scored with.
        adapter_size: bytes of the adapters' weights, where the task came as adapters.
        kind: the kind of task.
        kind_unsaid: whether the model leaves open that its one output is a number, as it was taken
            to be; transformers' pipelines make a chance of it.
        likeness: the cosines of the model's weights with the base's, by what they are of.
        foreign: whether they are no fine-tuned version of the base's, which was insisted on.
        adapter_bases: what adapters name as their base, where it is no name of this one.
        only_scored: whether the rows that scored came of `score_on`, and are no calibration rows.
        shared_rows: rows of those that are calibration rows all the same.
        familiarity: how well the fine-tuned model seems to know the rows that score: None where
            that is not told, as without labels.
        left_out: the relative size ‖W_tuned − W_base‖ / ‖W_base‖ of each change that a bundle has
            no place for: embeddings, norms, biases, and where text is generated the layer that
            gives logits. By name, with `*` for the number of a layer.
        left_out_beside_delta: the norm of all these changes together over that of the linear
            layers' deltas, of which the bundle holds what its budget allows; None without either.
        text: how the task's texts become tokens, where the base's own way is not the model's: what
            the bundle's text settings hold.
        longer_texts: the most tokens of a text for the model's own software, where a device cuts
            sooner, as the base's tokenizer says; None where it does not.
        prompts: the model's prompts by name that stand before no text unless whoever asks puts
            them there.
        vectors: biases and norms' weights that the bundle changes; None where they were not asked
            for.
        vectors_size: bytes that their changes take.
        with_vectors: where more than noise is lost in `linear_only`, the score of linear layers,
            biases and norms; None where little is lost, or the bundle has vectors.

    Example:
        >>> from pathlib import Path
        >>> from osd_edge.exporters import export_task
        >>> report = export_task("base", "tuned", Path("mr.osd.safetensors"), budget="3KiB")
        >>> report.size == report.head_size + report.delta_size
        True
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
    keep_by: str = "right"
    held_back: int = 0
    frozen_head: Score | None = None
    share: float | None = None
    share_error: float | None = None
    curve: Sequence[CurvePoint] = ()
    base_weights: str = "fp32"
    adapter_size: int | None = None
    kind: str = ""
    kind_unsaid: bool = False
    likeness: Mapping[str, float] = field(default_factory=dict)
    foreign: bool = False
    adapter_bases: Sequence[str] = ()
    left_out: Mapping[str, float] = field(default_factory=dict)
    left_out_beside_delta: float | None = None
    text: Mapping[str, Any] = field(default_factory=dict)
    longer_texts: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    vectors: int | None = None
    vectors_size: int = 0
    with_vectors: Score | None = None
    only_scored: bool = False
    shared_rows: int = 0
    familiarity: RowFamiliarity | None = None

    @property
    def needs_no_delta(self) -> bool:
        """Says whether a frozen head is as good as the fine-tuned model, within the rows' noise.

        Returns:
            False where it cannot be told: with fewer than 50 held-back rows, or of a task that
            writes, of which hardly a row may be written exactly.

        Example:
            >>> from pathlib import Path
            >>> from osd_edge.exporters import export_task
            >>> export_task("base", "tuned", Path("mr.osd.safetensors")).needs_no_delta
            False
        """
        if self.frozen_head is None or self.fine_tuned is None or self.held_back < 50:
            return False
        if self.fine_tuned.next_same is not None:
            return False
        gap = self.fine_tuned.accuracy - self.frozen_head.accuracy
        p = min(max(self.frozen_head.accuracy, 0.5), 1 - 1 / self.held_back)
        return bool(gap <= (p * (1 - p) / self.held_back) ** 0.5)

    @property
    def needs_vectors(self) -> bool:
        """Says whether changes of biases and norms, which are left out, matter to the answers.

        Returns:
            True where they bring back more than the noise of the rows.

        Example:
            >>> from pathlib import Path
            >>> from osd_edge.exporters import export_task
            >>> export_task("base", "tuned", Path("mr.osd.safetensors")).needs_vectors
            False
        """
        if self.with_vectors is None or self.linear_only is None:
            return False
        rows = self.held_back or self.calibration_examples
        return is_less(self.linear_only, self.with_vectors, rows)

    def as_dict(self) -> dict[str, Any]:
        """Gives the report as plain data.

        Returns:
            The fields by name, with `needs_no_delta` and `needs_vectors`.

        Example:
            >>> from pathlib import Path
            >>> from osd_edge.exporters import export_task
            >>> export_task("base", "tuned", Path("mr.osd.safetensors")).as_dict()["task"]
            'mr'
        """
        told = {"needs_no_delta": self.needs_no_delta, "needs_vectors": self.needs_vectors}
        return asdict(self) | told
