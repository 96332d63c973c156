"""Options of an export, checked before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from osd_edge.data.files import check_file_writable
from osd_edge.errors import BudgetError, Code, InputError, shown
from osd_edge.exporters.methods.budget import VALUE_BITS, Budget, parse_budget
from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
from osd_edge.exporters.methods.paper import selection as methods
from osd_edge.exporters.methods.stored.head import HeadOptions
from osd_edge.exporters.models.rounding import WEIGHTS
from osd_edge.formats.bundle.model import task_name


@dataclass(frozen=True)
class Options:
    """Checked options, defaults filled in; `refine` is None where the data will decide."""

    method: str
    task: str
    budget: Budget
    budget_given: bool
    values: str
    keep: float | None
    refine: str | None


def check_options(
    out: Path,
    *,
    method: str,
    budget: str | Budget | None,
    keep: float | None,
    refine: str | None,
    values: str | None,
    name: str | None,
    head: HeadOptions | None,
    extra_rank: int | None,
    base_weights: str = "fp32",
    seed: int = 0,
    sites: Sequence[str] = ("*",),
) -> Options:
    """Raises InputError, BudgetError or OutputError."""
    if method not in methods.METHODS:
        raise InputError(
            Code.INPUT_METHOD,
            f"expected one of {', '.join(methods.METHODS)}, found {shown(method, 40)!r}",
        )
    if budget is None:
        parsed = parse_budget("r=1" if method in methods.PAPER_METHODS else "16KiB")
    else:
        parsed = parse_budget(budget) if isinstance(budget, str) else budget
    if values is not None and values not in VALUE_BITS:
        raise InputError(
            Code.INPUT_VALUES, f"expected one of {', '.join(VALUE_BITS)}, found {values!r}"
        )
    if extra_rank is not None and extra_rank < 0:
        raise InputError(Code.INPUT_EXTRA_RANK, f"expected 0 or more, found {extra_rank}")
    if refine is not None and refine not in REFINEMENTS:
        raise InputError(
            Code.INPUT_REFINE,
            f"expected one of {', '.join(REFINEMENTS)}, found {shown(refine, 40)!r}",
        )
    if keep is not None and not 0 < keep <= 1:
        raise BudgetError(
            Code.BUDGET_MALFORMED, f"--keep is a share of the gain, above 0 and at most 1: {keep:g}"
        )
    if keep is not None and budget is not None:
        raise InputError(Code.INPUT_OPTIONS, "give --budget or --keep, not both")
    check_base_weights(base_weights)
    check_seed(seed)
    given = {
        "--base-weights": base_weights != "fp32",
        "--values": values is not None,
        "--extra-rank": extra_rank is not None,
        "--head-values or --head-rank": head is not None,
        "--budget": budget is not None,
        "--refine": refine is not None,
        "--keep": keep is not None,
        "--sites": tuple(sites) != ("*",),
    }
    for option in _foreign(method):
        if given[option]:
            raise InputError(Code.INPUT_OPTIONS, f"--method {method} does not take {option}")
    check_file_writable(out)
    stem = out.name.removesuffix(".safetensors").removesuffix(".osd")
    task = task_name(stem if name is None else name)
    sized = method != methods.HEAD and keep is None
    return Options(method, task, parsed, sized, values or "fp32", keep, refine)


def check_base_weights(kind: str) -> None:
    """Raises InputError `input.weights` where `kind` is not one of the kinds of weights."""
    if kind not in WEIGHTS:
        raise InputError(
            Code.INPUT_WEIGHTS, f"expected one of {', '.join(WEIGHTS)}, found {shown(kind, 40)!r}"
        )


def check_seed(seed: int) -> None:
    """Raises InputError `input.number` for a seed that not every generator takes."""
    if not 0 <= seed < 2**63:
        raise InputError(Code.INPUT_NUMBER, f"a seed is a number from 0 to 2**63 - 1, found {seed}")


def _foreign(method: str) -> tuple[str, ...]:
    """Options that mean nothing to a method."""
    if method in methods.PAPER_METHODS:
        dense = ("--extra-rank",) if method == "truncsvd" else ()
        return ("--refine", "--keep", "--base-weights", *dense)
    own = ("--values", "--extra-rank", "--head-values or --head-rank")
    return own if method == methods.OSD_RD else (*own, "--budget", "--refine", "--keep", "--sites")
