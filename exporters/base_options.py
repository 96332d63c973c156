"""The options of a base package: one frozen dataclass, checked when it is made."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from osd_edge.data.arguments import as_whole, described
from osd_edge.errors import Code, InputError, expected_one_of
from osd_edge.exporters.graph.tracers import TRACERS
from osd_edge.exporters.models.weight_kinds import WEIGHT_KINDS, check_weight_kind
from osd_edge.exporters.option_fields import flag, several_texts, sites_field
from osd_edge.formats.package.manifest import FACTOR_TYPES

GENERATE = "generate"  # the one task that a base is exported for


@dataclass(frozen=True, kw_only=True)
class BaseOptions:
    """The options of `export base`: how a base package is made. Frozen, checked and picklable.

    Args:
        task: "generate" for a base that writes text, and gives hidden states as well; None for one
            that gives hidden states alone.
        context: the most tokens of a text, a prompt and its answer together; unless given, as many
            as the model and its tokenizer take.
        sites: globs over module paths of the linear layers that get a delta branch.
        fuse: whether operators are fused where the family has fused ones.
        weights: how the base's weights are stored: fp32, fp16, int8 (products in int8, inputs
            rounded as they come) or int4 (weights alone). The same bundles run over all.
        factors: the type in which tasks' factors are fed, fp32 or fp16.
        vectors: whether the graph takes changes of biases and norms too, which tasks exported with
            `vectors` have.
        tracer: what turns the model into a graph: torch's older exporter (`torchscript`), its newer
            one (`dynamo`, which needs onnxscript), or `optimum`, which needs optimum-onnx.
        overwrite: whether an earlier base package in the folder is replaced.

    Raises:
        InputError: `input.factors`, `input.tracer`, `input.weights`; `input.options` for a value of
            another type.

    Example:
        >>> BaseOptions(weights="int8").factors
        'fp32'
    """

    task: str | None = field(
        default=None,
        metadata=flag(
            "--task",
            choices=(GENERATE,),
            help="What the base is for besides hidden states: generate, to write text with a "
            "decoder.",
        ),
    )
    context: int | None = field(
        default=None,
        metadata=flag(
            "--context",
            metavar="TOKENS",
            type=int,
            least=1,
            help="The most tokens of a text, prompt and answer together. Default: as many as the "
            "model takes.",
        ),
    )
    sites: Sequence[str] = sites_field()
    fuse: bool = field(
        default=True,
        metadata=flag(
            "--fuse/--no-fuse", switch=True, help="Fused operators where the family has them."
        ),
    )
    weights: str = field(
        default="fp32",
        metadata=flag(
            "--weights",
            choices=WEIGHT_KINDS,
            shown=True,
            help="How the base's weights are stored; the same bundles run over all.",
        ),
    )
    factors: str = field(
        default="fp32",
        metadata=flag(
            "--factors",
            choices=FACTOR_TYPES,
            shown=True,
            help="In what tasks' factors are fed; fp16 halves the memory of decoded tasks.",
        ),
    )
    vectors: bool = field(
        default=False,
        metadata=flag(
            "--vectors",
            switch=True,
            help="Take changes of biases and norms too, for tasks exported with --vectors.",
        ),
    )
    tracer: str = field(
        default=TRACERS[0],
        metadata=flag(
            "--tracer",
            choices=TRACERS,
            shown=True,
            help="What turns the model into a graph: torch's older exporter, its newer one, or "
            "optimum-onnx where it is installed.",
        ),
    )
    overwrite: bool = field(
        default=False,
        metadata=flag("--overwrite", switch=True, help="Replace an earlier base package in DIR."),
    )

    def __post_init__(self) -> None:
        """Check each option."""
        if self.task not in (None, GENERATE):
            raise expected_one_of(Code.INPUT_OPTIONS, (GENERATE,), self.task)
        if self.context is not None:
            as_whole(self.context, "context", 1)
        object.__setattr__(self, "sites", several_texts("sites", self.sites))
        for name in ("fuse", "vectors", "overwrite"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise InputError(
                    Code.INPUT_OPTIONS, f"{name}: expected True or False, found {described(value)}"
                )
        if self.factors not in FACTOR_TYPES:
            raise expected_one_of(Code.INPUT_FACTORS, FACTOR_TYPES, self.factors)
        if self.tracer not in TRACERS:
            raise expected_one_of(Code.INPUT_TRACER, TRACERS, self.tracer)
        check_weight_kind(self.weights)
