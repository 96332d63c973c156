"""A task with its calibration set: its rows, its batches, and its scores on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from osd_edge.data.examples import Example, check_pairs, read_examples, with_known_labels
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, DataError, ModelError
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.models.fine_tuned import FineTuned
from osd_edge.exporters.models.image_preparation import preparation
from osd_edge.exporters.models.tokenizer import tokenizer_for
from osd_edge.exporters.scoring.batches import (
    BATCH,
    MAX_TOKENS,
    Batch,
    make_batches,
    picture_batches,
    prompted,
)
from osd_edge.exporters.scoring.calibration import Calibration
from osd_edge.exporters.scoring.completions import completion_batches
from osd_edge.exporters.scoring.pictures import read_pictures
from osd_edge.exporters.scoring.score import Score, is_less
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import (
    LINEAR_AND_VECTORS,
    LINEAR_ONLY,
    TUNED,
    WithDelta,
)
from osd_edge.formats.bundle.model import StoredHead, StoredSite
from osd_edge.formats.bundle.vectors import VectorDelta

T = TypeVar("T")


@dataclass(frozen=True)
class CalibratedTask:
    """A task's torch model with its calibration set.

    `fine_tuned` is the score of the model as it came, `linear_only` without its deltas of
    embeddings, biases and LayerNorms, which bundles leave out. Where bundles are to have vectors
    it has those of biases and LayerNorms; where they are not, and more than noise is lost without
    them, `with_vectors` is that score.
    """

    model: TaskModel
    calibration: Calibration
    fine_tuned: Score
    linear_only: Score
    with_vectors: Score | None = None

    def score(
        self,
        sites: Sequence[StoredSite],
        head: StoredHead,
        progress: Progress = silent,
        *,
        vectors: Sequence[VectorDelta] = (),
    ) -> Score:
        """The score with base weights plus this delta, and this head."""
        with self.model.at(WithDelta(sites, head, vectors)) as module:
            return self.calibration.score(module, "Compressed on calibration set", progress)


def read_calibration(
    source: str | Path | Sequence[Example],
    labels: Sequence[str],
    name: str = "the calibration set",
) -> tuple[Example, ...]:
    """The examples of a calibration file or folder, or those given; `name` is for refusals.

    Labels are checked where `labels` are.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        examples = examples_in(path)
    else:
        path, examples = Path(name.removeprefix("the ")), tuple(source)
    if not examples:
        raise DataError(Code.DATA_EMPTY, f"{name} holds no examples: give rows, or leave it out")
    check_pairs({name: examples})
    if labels and any(example.label is not None for example in examples):
        return with_known_labels(path, examples, labels)
    return examples


def examples_in(path: Path) -> tuple[Example, ...]:
    """The texts of a file, or the pictures of a folder; raises DataError as they do."""
    try:
        pictures = path.is_dir()
    except OSError:  # a folder on the way is closed, or the name too long: the reader says which
        pictures = False
    return read_pictures(path) if pictures else read_examples(path)


def evenly_spaced(items: Sequence[T], most: int) -> Sequence[T]:
    """`most` of `items`, or all, from the whole length of what may be a sorted file."""
    chosen = min(len(items), most)
    return [items[i * len(items) // chosen] for i in range(chosen)]


def batches_of(models: FineTuned, examples: Sequence[Example], size: int = BATCH) -> list[Batch]:
    """Batches of `size` examples as the models of `models` take them."""
    pictures = models.backbone.family.reads_images
    if pictures != (examples[0].picture is not None):
        expected = (
            ("a folder of pictures", "texts") if pictures else ("a file of texts", "pictures")
        )
        raise DataError(
            Code.DATA_IMAGES, "this base is calibrated with {}: found {} instead".format(*expected)
        )
    if models.writes:
        return completion_batches(models, examples, size)
    if not KINDS[models.head.kind].labelled:
        examples = [replace(example, label=None) for example in examples]
    if pictures:
        prepared = preparation(models.backbone.checkpoint)
        if prepared is None:
            raise ModelError(
                Code.MODEL_IMAGES,
                f"{models.backbone.checkpoint.folder} has no preprocessor_config.json, which says "
                "how pictures are prepared: copy it from the model it came from",
            )
        if prepared.settings.channels not in (1, 3):
            raise ModelError(
                Code.MODEL_IMAGES,
                f"pictures of files have 1 channel or 3: {models.backbone.checkpoint.folder} takes "
                f"{prepared.settings.channels}, and is exported without --calibration",
            )
        return picture_batches(examples, models.labels, prepared, size)
    tokenizer = tokenizer_for(models.tuned, models.backbone.checkpoint)
    return make_batches(
        prompted(examples, models.texts.prompt),
        models.labels,
        tokenizer,
        models.backbone.family.inputs,
        models.texts.most or MAX_TOKENS,
        size,
    )


def calibrated(
    models: FineTuned,
    examples: Sequence[Example],
    progress: Progress = silent,
    model: TaskModel | None = None,
    *,
    whole: bool = False,
    vectors: bool = False,
) -> CalibratedTask:
    """Takes the fine-tuned model's scores on `examples`, with the caller's `model` if given.

    The model is `whole` in its linear layers, and its vectors where bundles are to have `vectors`,
    where it changes nothing else, as most LoRAs do.
    """
    batches = batches_of(models, examples)
    model = model or TaskModel(models.backbone, models.tuned, models.head)
    with model.at(TUNED) as module:
        calibration = Calibration(batches, module, progress, kind=models.head.kind)
    fine_tuned = calibration.reference_score()
    if whole:
        return CalibratedTask(model, calibration, fine_tuned, fine_tuned)
    with model.at(LINEAR_AND_VECTORS if vectors else LINEAR_ONLY) as module:
        linear_only = calibration.score(module, "Linear layers only on calibration set", progress)
    with_vectors = None
    if not vectors and is_less(linear_only, fine_tuned, calibration.examples):
        with model.at(LINEAR_AND_VECTORS) as module:
            with_vectors = calibration.score(module, "With vectors on calibration set", progress)
    return CalibratedTask(model, calibration, fine_tuned, linear_only, with_vectors)
