"""The options of an export: one frozen dataclass, checked when it is made.

The command line's options, the keywords of `export_task` and of `TaskExporter`, and what a method
is given are all made from its fields. Nothing here needs torch, so that a command line can show its
help without it.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from osd_edge.data.arguments import as_model, as_number, as_path, as_whole, described
from osd_edge.data.examples import Example
from osd_edge.data.seed import MOST_SEED
from osd_edge.errors import BudgetError, Code, InputError, expected_one_of, shown
from osd_edge.exporters.methods.budget import VALUE_BITS, Budget, parse_budget
from osd_edge.exporters.methods.head_options import HeadOptions
from osd_edge.exporters.methods.registry import METHODS, MethodEntry, exported
from osd_edge.exporters.models.weight_kinds import WEIGHT_KINDS, check_weight_kind
from osd_edge.exporters.option_fields import flag, several, several_texts, sites_field
from osd_edge.formats.kinds import KINDS
from osd_edge.formats.limits import task_name

REFINE_NAMES = ("none", "scales", "codes")
RIGHT, NATS = MEASURES = ("right", "nats")  # of a gain


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """The options of `export task`: what is exported, and how. Frozen, checked and picklable.

    Not every method takes every option: the registry of methods says which.

    Args:
        base: the base, a folder or hub id in Hugging Face format.
        tuned: the fine-tuned model, likewise; None where there are adapters in its place.
        adapters: PEFT folders of LoRA or DoRA adapters, each with its weight.
        labels: names of an adapter's labels, in the order of its outputs.
        any_base: whether a model is taken that was not fine-tuned from the base, by its weights.
        kind: the kind of task; unless given, as the model's configuration says.
        calibration: a file of texts or a folder of pictures, by its path, or the examples. `osd`
            needs labels. For a task that generates text: prompts with completions, or messages.
        score_on: rows that only score, a file or examples as for `calibration`, of which then all
            rows tune: a test set, or others that the fine-tuned model was not trained on. Unless
            given, some calibration rows are held back.
        complete: the most tokens that the fine-tuned model writes where a prompt has no completion;
            without it such prompts are refused.
        method: a method of the registry that makes task bundles.
        budget: bytes of the whole file, as a whole number or such as `16KiB`; or the paper's
            `r=1`; unless given, the method's own, which is larger for a task that generates text.
        keep: in the place of a budget, the share, above 0 and at most 1, of the gain over a frozen
            head (of a task that writes, over the base alone) that the smallest file must keep on
            held-back rows.
        keep_by: what that gain is counted in: `right` answers (rows that are written exactly), or
            `nats`, which tell more from few rows of a task that writes.
        trust_rows: whether `keep` decides by rows that the fine-tuned model seems to have been
            trained on, which it refuses otherwise.
        refine: what is trained to follow the fine-tuned model: `none`, `scales` or `codes`.
        values: the type of a delta's values, for the paper's methods: fp32, fp16 or int8.
        head: how the head is stored, for the paper's methods.
        extra_rank: c in the relaxed rank k = r + c; unless given, the best by calibration loss.
        vectors: whether changes of biases and norms are in the bundle too, which then needs a base
            package exported with `vectors`.
        base_weights: the weights of the package that is tuned for; the bundle fits every package.
        sites: globs over module paths of the linear layers that may carry a delta.
        seed: draws the rows held back and the order of training; 0 to 2**63 - 1.
        name: the task's name; unless given, that of the file.

    Raises:
        InputError: an option is none of those that there are, of another type, or not one of the
            method's; `input.path` for a path that is none.
        BudgetError: `budget.malformed` for a budget or a share that is none.

    Example:
        >>> options = TaskOptions(base="base", tuned="tuned", budget=16384)
        >>> options.method, options.limit.size
        ('osd-rd', 16384)
    """

    base: str | Path = field(
        metadata=flag(
            "--base", metavar="MODEL", model=True, required=True, help="The base: folder or hub id."
        )
    )
    tuned: str | Path | None = field(
        default=None,
        metadata=flag(
            "--tuned", metavar="MODEL", model=True, help="The fine-tuned model: folder or hub id."
        ),
    )
    adapters: Sequence[tuple[str | Path, float]] = field(
        default=(),
        metadata=flag(
            "--adapter",
            metavar="DIR[:WEIGHT]",
            model=True,
            multiple=True,
            help="In the place of --tuned: a LoRA or DoRA adapter in PEFT's format; may be "
            "repeated.",
        ),
    )
    labels: Sequence[str] | None = field(
        default=None,
        metadata=flag(
            "--labels",
            metavar="A,B,…",
            help="Names of an adapter's labels, in the order of its outputs.",
        ),
    )
    any_base: bool = field(
        default=False,
        metadata=flag(
            "--any-base",
            switch=True,
            help="Take a model whose weights are no fine-tuned version of the base's.",
        ),
    )
    kind: str | None = field(
        default=None,
        metadata=flag(
            "--kind",
            choices=KINDS,
            help="Kind of task; generate: text. Default: as the model's configuration says.",
        ),
    )
    calibration: str | Path | Sequence[Example] | None = field(
        default=None,
        metadata=flag(
            "--calibration",
            type=Path,
            metavar="FILE",
            help="Examples: .tsv (label<TAB>text), .csv, .jsonl or .txt (a sentence a line), or a "
            "folder of pictures, one below it for each label. Only osd needs labels. For generate: "
            ".jsonl of prompts with completions, or of messages; .txt.",
        ),
    )
    score_on: str | Path | Sequence[Example] | None = field(
        default=None,
        metadata=flag(
            "--score-on",
            type=Path,
            metavar="FILE",
            help="Rows that only score, as --calibration has them, which then all tune: rows that "
            "the fine-tuned model was not trained on. Default: calibration rows are held back.",
        ),
    )
    complete: int | None = field(
        default=None,
        metadata=flag(
            "--complete",
            least=1,
            metavar="TOKENS",
            help="For generate: where prompts have no completion, the fine-tuned model writes one "
            "of up to so many tokens.",
        ),
    )
    method: str = field(
        default=next(iter(METHODS)),
        metadata=flag(
            "--method",
            choices=exported,
            shown=True,
            help="osd-rd: smallest. truncsvd, magtruncsvd, osd: the paper's. head: no delta at "
            "all.",
        ),
    )
    budget: str | int | Budget | None = field(
        default=None,
        metadata=flag(
            "--budget",
            metavar="BUDGET",
            help="64KiB: the whole file. r=1: the paper's, bytes of fp32 rank-1 factors, head on "
            "top. Default: 16KiB for osd-rd (64KiB for a task that generates text), r=1 for the "
            "paper's methods.",
        ),
    )
    keep: float | None = field(
        default=None,
        metadata=flag(
            "--keep",
            type=float,
            metavar="SHARE",
            help="osd-rd: the smallest file that keeps this share (0.95) of the gain over a frozen "
            "head, measured on held-back calibration rows, of which it takes 200.",
        ),
    )
    keep_by: str = field(
        default=RIGHT,
        metadata=flag(
            "--keep-by",
            choices=MEASURES,
            shown=True,
            help="What the gain is counted in: right answers, or nats of loss (a token's, where "
            "text is generated).",
        ),
    )
    trust_rows: bool = field(
        default=False,
        metadata=flag(
            "--trust-rows",
            switch=True,
            help="Let --keep decide by rows that the fine-tuned model seems to have been trained "
            "on.",
        ),
    )
    refine: str | None = field(
        default=None,
        metadata=flag(
            "--refine",
            choices=REFINE_NAMES,
            help="osd-rd: what is trained to follow the fine-tuned model. codes: the smallest "
            "files, minutes. Default: scales, and none without --calibration.",
        ),
    )
    values: str | None = field(
        default=None,
        metadata=flag(
            "--values", choices=VALUE_BITS, help="Of the paper's methods. Default: fp32."
        ),
    )
    head: HeadOptions | None = field(default=None, metadata={"group": HeadOptions})
    extra_rank: int | None = field(
        default=None,
        metadata=flag(
            "--extra-rank",
            least=0,
            metavar="C",
            help="c in the relaxed rank k = r + c. Default: the best of a grid by calibration "
            "loss.",
        ),
    )
    vectors: bool = field(
        default=False,
        metadata=flag(
            "--vectors",
            switch=True,
            help="osd-rd: changes of biases and norms too, for a base exported with --vectors.",
        ),
    )
    base_weights: str = field(
        default="fp32",
        metadata=flag(
            "--base-weights",
            choices=WEIGHT_KINDS,
            shown=True,
            help="osd-rd, head: tune for a package with these weights. The bundle runs over any.",
        ),
    )
    sites: Sequence[str] = sites_field()
    seed: int = field(
        default=0,
        metadata=flag(
            "--seed",
            least=0,
            most=MOST_SEED,
            help="osd-rd, head: draws the rows held back; osd-rd: and the order of training. "
            "Default: 0.",
        ),
    )
    name: str | None = field(
        default=None,
        metadata=flag("--name", help="Name of the task. Default: that of the file."),
    )

    def __post_init__(self) -> None:
        """Check every option by itself, then those that the method does not take."""
        frozen = {
            "base": as_model(self.base, "base"),
            "tuned": None if self.tuned is None else as_model(self.tuned, "tuned"),
            "adapters": _adapters(self.adapters),
            "labels": None if self.labels is None else several_texts("labels", self.labels),
            "calibration": _rows("calibration", self.calibration),
            "score_on": _rows("score_on", self.score_on),
            "sites": several_texts("sites", self.sites),
        }
        for name, value in frozen.items():
            object.__setattr__(self, name, value)
        for name in ("any_base", "trust_rows", "vectors"):
            given = getattr(self, name)
            if not isinstance(given, bool):
                raise InputError(
                    Code.INPUT_OPTIONS, f"{name}: expected True or False, found {described(given)}"
                )
        if not isinstance(self.head, HeadOptions | None):
            raise InputError(Code.INPUT_OPTIONS, f"head: expected HeadOptions, found {self.head!r}")
        if self.method not in exported():
            raise expected_one_of(Code.INPUT_METHOD, exported(), self.method)
        _ = self.limit  # which refuses a malformed budget
        if self.kind is not None and self.kind not in tuple(KINDS):
            raise expected_one_of(Code.INPUT_KIND, KINDS, self.kind)
        if self.complete is not None:
            as_whole(self.complete, "complete", 1)
            if self.calibration is None:
                raise InputError(
                    Code.INPUT_OPTIONS,
                    "--complete needs --calibration, whose prompts the fine-tuned model completes",
                )
        if self.values is not None and self.values not in tuple(VALUE_BITS):
            raise expected_one_of(Code.INPUT_VALUES, VALUE_BITS, self.values)
        if self.extra_rank is not None:
            as_whole(self.extra_rank, "extra_rank", code=Code.INPUT_EXTRA_RANK)
        if self.refine is not None and self.refine not in REFINE_NAMES:
            raise expected_one_of(Code.INPUT_REFINE, REFINE_NAMES, self.refine)
        if self.keep is not None:
            _check_keep(self.keep)
        if self.score_on is not None and self.calibration is None:
            raise InputError(
                Code.INPUT_OPTIONS,
                "--score-on has rows to score beside those that tune: give --calibration too",
            )
        if self.keep_by not in MEASURES:
            raise expected_one_of(Code.INPUT_OPTIONS, MEASURES, self.keep_by)
        if self.keep is not None and self.budget is not None:
            raise InputError(Code.INPUT_OPTIONS, "give --budget or --keep, not both")
        check_weight_kind(self.base_weights)
        check_seed(self.seed)
        for one in fields(self):
            own = one.name not in _OF_SOME or self.entry.accepts(one.name)
            if not own and getattr(self, one.name) != one.default:
                raise not_taken(self.method, _flags_of(one))
        if self.name is not None:
            task_name(self.name)

    @property
    def entry(self) -> MethodEntry:
        """The method's line in the registry.

        Returns:
            The entry: which options the method takes, and its default budget.

        Example:
            >>> "refine" in TaskOptions(base="base", tuned="tuned").entry.takes
            True
        """
        return METHODS[self.method]

    @property
    def limit(self) -> Budget:
        """The budget, parsed; the method's own default where none is given.

        Returns:
            A Budget of bytes or of a rank.

        Example:
            >>> str(TaskOptions(base="base", tuned="tuned", method="osd").limit)
            'r=1'
        """
        if self.budget is None:
            return parse_budget(self.entry.budget or "16KiB")
        return parse_budget(self.budget)

    def task(self, out: str | Path) -> str:
        """Gives the name of the task in a file, which names it unless `name` does.

        Args:
            out: the file that will be written.

        Returns:
            The task's name.

        Raises:
            InputError: `input.task-name` where the file's name cannot name a task, `input.path`
                for a path that is none.

        Example:
            >>> TaskOptions(base="base", tuned="tuned").task(Path("mr.osd.safetensors"))
            'mr'
        """
        stem = as_path(out, "out").name.removesuffix(".safetensors").removesuffix(".osd")
        if self.name is not None:
            return task_name(self.name)
        return task_name(stem, ", the name of the file: give another with --name")


# What some methods take and others do not. A seed is passed to all; the command line refuses it.
_OF_SOME = frozenset({"budget"}.union(*(entry.takes for entry in METHODS.values()))) - {"seed"}
# What is read when the models are opened, and cannot be another for each of several bundles.
OPENED = (
    "base",
    "tuned",
    "adapters",
    "labels",
    "any_base",
    "kind",
    "calibration",
    "score_on",
    "complete",
    "sites",
    "vectors",
    "base_weights",
)


def not_taken(method: str, option: str) -> InputError:
    """The refusal of an option that means nothing to a method."""
    return InputError(Code.INPUT_OPTIONS, f"--method {method} does not take {option}: leave it out")


def check_seed(seed: int) -> None:
    """Raises InputError `input.number` for a seed that not every generator takes."""
    as_whole(seed, "seed", 0, MOST_SEED)


def check_within(size: int, options: TaskOptions) -> None:
    """Raises BudgetError `budget.too-small` for a file of more bytes than its budget."""
    if options.entry.budget is None or options.keep is not None or options.limit.size is None:
        return
    if size > options.limit.size:
        raise BudgetError(
            Code.BUDGET_TOO_SMALL,
            f"{options.method} makes a bundle of {size} bytes: a budget of {options.limit} is "
            "less, give at least that",
        )


def check_names(given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises InputError `input.options` for a keyword that is none of `names`."""
    for name in given:
        if name not in names:
            raise InputError(
                Code.INPUT_OPTIONS, f"no option {shown(name, 40)!r}: expected {', '.join(names)}"
            )


def _rows(name: str, given: Any) -> Path | tuple[Example, ...] | None:
    """A set of rows as a path, or as its examples."""
    if given is None:
        return None
    if isinstance(given, str | os.PathLike):
        return as_path(given, name)
    examples = several(name, given)
    for example in examples:
        if not isinstance(example, Example):
            raise InputError(
                Code.INPUT_OPTIONS,
                f"{name}: expected a path or examples, found {described(example)} among them",
            )
    return examples


def _adapters(given: Any) -> tuple[tuple[str | Path, float], ...]:
    """Adapters, each a folder with its weight."""
    found = []
    for one in several("adapters", given):
        if not isinstance(one, Sequence) or isinstance(one, str | bytes) or len(one) != 2:
            raise InputError(
                Code.INPUT_OPTIONS,
                f"adapters: expected each with a folder and its weight, found {described(one)}",
            )
        folder, weight = one
        found.append((as_model(folder, "adapters"), as_number(weight, "the weight of an adapter")))
    return tuple(found)


def _check_keep(keep: object) -> None:
    try:
        share = as_number(keep, "keep")
    except InputError:
        share = math.nan
    if not 0 < share <= 1:
        raise BudgetError(
            Code.BUDGET_MALFORMED,
            f"--keep is a share of the gain, above 0 and at most 1, found {described(keep)}",
        )


def _flags_of(field: "Field[Any]") -> str:
    if "group" not in field.metadata:
        return str(field.metadata["flag"])
    group = fields(field.metadata["group"])
    return " or ".join(one.metadata["flag"] for one in group if one.metadata)
