"""The plan of a measurement: a base, its bundles, and how long and how often.

Its fields are the one list of options: the command lines of `osd-edge bench` and of
`python -m osd_edge.device_tests`, the words with which a plan crosses to another device, and the
report's check of a plan are made from them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from osd_edge.data.files import kind_at
from osd_edge.device_tests.plan.options import check_scenarios, option, options_of
from osd_edge.device_tests.plan.scenarios import SCENARIOS
from osd_edge.errors import Code, InputError, shown

SEED = 1  # of the made-up inputs and of the order within rounds: the same in every run


@dataclass(frozen=True)
class Plan:
    """The plan of a measurement: what to measure, how often and how long.

    Args:
        base: Folder of a base package; None measures the small model inside this package.
        bundles: Files of task bundles for that base, none without a base; `NAME=FILE` calls a
            task by another name than its own.
        tokens: Tokens of each input; inputs are made up, `[batch, tokens]`.
        batch: Rows of each input.
        threads: Threads of a session; 0 takes all cores.
        runs: Timed runs of each thing, at least.
        seconds: Timed seconds of each thing, at least: runs go on until both are reached.
        repeats: Processes that are started for the figures of a start.
        tasks: How many tasks are loaded at once where that counts. Bundles are loaded again under
            other names until there are that many.
        soak_swaps: Swaps of the soak.
        answer_tokens: Tokens of each answer, of a base that writes text.
        scenarios: Ids of the scenarios to run; empty runs all of them.
        pin: Numbers of the processors to stay on; empty leaves it to the system.
        scratch: Folder for copies of models; None takes one where temporary files outlive memory.
        withhold_latency: Why no time may be reported; None reports times.
        emulated: What emulates this machine; None where nothing does. It withholds times, too.

    Raises:
        InputError: A value is of another type: `input.path`, `input.number`, `input.scenario`,
            `input.pin` or `input.type`. Bounds are checked when it is measured.

    Example:
        >>> from osd_edge.device_tests import Plan
        >>> plan = Plan(tokens=64, threads=2, scenarios=("swap", "base"))
        >>> plan.chosen()
        ('base', 'swap')
        >>> plan.quick().runs, plan.runs
        (5, 50)
    """

    base: str | Path | None = field(
        default=None,
        metadata=option(
            "Base package; without it, the small model inside osd-edge.", "path", role="subject"
        ),
    )
    bundles: Sequence[str | Path] = field(
        default=(),
        metadata=option(
            "A task bundle, and a name in the place of its task's own; may be repeated.",
            "path",
            role="subject",
            flag="--bundle",
            metavar="[NAME=]FILE",
            repeated=True,
        ),
    )
    tokens: int = field(
        default=128,
        metadata=option("Tokens of an input.", "whole", least=1, most=1 << 16, in_schema=True),
    )
    batch: int = field(
        default=1,
        metadata=option("Rows of an input.", "whole", least=1, most=1 << 12, in_schema=True),
    )
    threads: int = field(
        default=1,
        metadata=option(
            "Threads of a session; 0: all cores.",
            "whole",
            least=0,
            most_typed=1024,
            in_schema=True,
        ),
    )
    runs: int = field(
        default=50,
        metadata=option(
            "Timed runs of each thing, at least.",
            "whole",
            least=1,
            most=10**6,
            quick=5,
            in_schema=True,
        ),
    )
    seconds: float = field(
        default=2.0,
        metadata=option(
            "Timed seconds of each thing, at least.",
            "number",
            least=0,
            most=10**6,
            quick=0.0,
            in_schema=True,
        ),
    )
    repeats: int = field(
        default=5,
        metadata=option(
            "Processes for the figures of a start.", "whole", least=1, most=1000, quick=2
        ),
    )
    tasks: int = field(
        default=8,
        metadata=option(
            "Tasks where many are loaded; bundles repeat.", "whole", least=1, most=4096, quick=3
        ),
    )
    soak_swaps: int = field(
        default=2000,
        metadata=option("Swaps of the soak.", "whole", least=1, most=10**9, quick=100),
    )
    answer_tokens: int = field(
        default=32,
        metadata=option(
            "Tokens of an answer, where text is written.",
            "whole",
            least=2,
            most=1 << 16,
            quick=4,
        ),
    )
    scenarios: tuple[str, ...] = field(
        default=(), metadata=option("Ids, as base,swap; default: all.", "scenarios")
    )
    pin: tuple[int, ...] = field(
        default=(), metadata=option("Stay on these processors.", "processors", in_schema=True)
    )
    scratch: str | Path | None = field(
        default=None, metadata=option("Where copies of models go.", "path", role="machine")
    )
    withhold_latency: str | None = field(
        default=None,
        metadata=option(
            "Report no times, for this reason.", "text", metavar="REASON", in_schema=True
        ),
    )
    emulated: str | None = field(
        default=None,
        metadata=option("What emulates this machine; reports no times.", "text", role="driver"),
    )

    def __post_init__(self) -> None:
        """Check the types, and keep paths as Path."""
        for one in options_of(type(self)):
            object.__setattr__(self, one.name, one.typed(getattr(self, one.name)))

    @property
    def why_no_times(self) -> str | None:
        """Why times are withheld; None where they are not."""
        if self.withhold_latency is None and self.emulated is not None:
            return f"withheld: an emulated machine's times are not a device's ({self.emulated})"
        return self.withhold_latency

    def quick(self) -> "Plan":
        """Returns the plan with few runs, which show that all works; its times say little."""
        few: dict[str, Any] = {o.name: o.quick for o in OPTIONS if o.quick is not None}
        return replace(self, **few)

    def chosen(self) -> tuple[str, ...]:
        """Lists the ids of the scenarios to run, in their order."""
        return tuple(s.id for s in SCENARIOS if not self.scenarios or s.id in self.scenarios)

    def described(self) -> dict[str, Any]:
        """Returns the plan as it stands in a report."""
        numbers = {o.name: getattr(self, o.name) for o in OPTIONS if o.is_number}
        return numbers | {
            "seed": SEED,
            "pin": list(self.pin),
            "scenarios": list(self.chosen()),
            "withhold_latency": self.why_no_times,
        }

    def arguments(
        self, base: str | None, bundles: Sequence[str], scratch: str | None = None
    ) -> list[str]:
        """Makes the words for `python -m osd_edge.device_tests` where files have these paths."""
        there = {"base": base, "bundles": tuple(bundles), "scratch": scratch}
        values = vars(self) | there
        return [word for o in OPTIONS for word in o.words(values[o.name])]


OPTIONS = options_of(Plan)


def plan_of(given: Mapping[str, Any]) -> Plan:
    """Makes the plan that a command line gives: its values by the names of the fields.

    Raises InputError `input.scenario`, `input.pin` for a list that cannot be read.
    """
    return Plan(**{o.name: o.parse(given[o.name]) for o in OPTIONS if o.name in given})


def check_plan(plan: Plan) -> None:
    """Refuses numbers out of range and scenarios that are not known. Raises InputError."""
    for entry in OPTIONS:
        entry.check(getattr(plan, entry.name))
    check_scenarios(plan.scenarios)
    if bool(plan.bundles) != (plan.base is not None):
        raise InputError(
            Code.INPUT_OPTIONS,
            "name a base package with --base and one or more bundles with --bundle, or neither: "
            "then the small model inside osd-edge is measured",
        )
    if plan.scratch is not None:
        _check_scratch(Path(plan.scratch))
    if plan.pin and not hasattr(os, "sched_setaffinity"):
        raise InputError(
            Code.INPUT_PIN, "this system cannot pin a process to processors: omit --pin"
        )


def _check_scratch(folder: Path) -> None:
    if kind_at(folder) != "folder" or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            Code.INPUT_SCRATCH,
            f"--scratch {shown(str(folder))}: expected a folder that can be written to",
        )
