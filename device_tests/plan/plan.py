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

from osd_edge.device_tests.plan.options import check_scenarios, option, options_of
from osd_edge.device_tests.plan.scenarios import SCENARIOS
from osd_edge.errors import Code, InputError

SEED = 1  # of the made-up inputs and of the order within rounds: the same in every run


@dataclass(frozen=True)
class Plan:
    """What is asked for; no `base` means the small model inside this package.

    Inputs are made up, `[batch, tokens]`. `threads` 0 is all cores. At least `runs` timed runs of
    each thing, and more until they have taken `seconds`. `tasks` is how many are loaded at once
    where that counts: bundles are loaded again under other names until there are that many.
    `scenarios` are ids, empty for all. `pin` is the processors to stay on. `scratch` is where
    copies of models go. `withhold_latency` is why no time may be reported; `emulated` says what
    emulates this machine, and withholds times too.
    """

    base: Path | None = field(
        default=None,
        metadata=option(
            "Base package; without it, the small model inside osd-edge.", "path", role="subject"
        ),
    )
    bundles: tuple[Path, ...] = field(
        default=(),
        metadata=option(
            "A task bundle; may be repeated.",
            "path",
            role="subject",
            flag="--bundle",
            metavar="FILE",
            repeated=True,
        ),
    )
    tokens: int = field(
        default=128, metadata=option("Tokens of an input.", "whole", least=1, most=1 << 16)
    )
    batch: int = field(
        default=1, metadata=option("Rows of an input.", "whole", least=1, most=1 << 12)
    )
    threads: int = field(
        default=1,
        metadata=option(
            "Threads of a session; 0: all cores.", "whole", least=0, most=1024, tell_most=True
        ),
    )
    runs: int = field(
        default=50,
        metadata=option(
            "Timed runs of each thing, at least.", "whole", least=1, most=10**6, quick=5
        ),
    )
    seconds: float = field(
        default=2.0,
        metadata=option(
            "Timed seconds of each thing, at least.", "number", least=0, most=10**6, quick=0.0
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
    scenarios: tuple[str, ...] = field(
        default=(), metadata=option("Ids, as base,swap; default: all.", "scenarios")
    )
    pin: tuple[int, ...] = field(
        default=(), metadata=option("Stay on these processors.", "processors")
    )
    scratch: Path | None = field(
        default=None, metadata=option("Where copies of models go.", "path", role="machine")
    )
    withhold_latency: str | None = field(
        default=None,
        metadata=option("Report no times, for this reason.", "text", metavar="REASON"),
    )
    emulated: str | None = field(
        default=None,
        metadata=option("What emulates this machine; reports no times.", "text", role="driver"),
    )

    @property
    def why_no_times(self) -> str | None:
        """Why times are withheld; None where they are not."""
        if self.withhold_latency is None and self.emulated is not None:
            return f"withheld: an emulated machine's times are not a device's ({self.emulated})"
        return self.withhold_latency

    def quick(self) -> "Plan":
        """The plan with the fewest runs that show that everything works; its times say little."""
        few: dict[str, Any] = {o.name: o.quick for o in OPTIONS if o.quick is not None}
        return replace(self, **few)

    def chosen(self) -> tuple[str, ...]:
        """Ids of the scenarios to run, in their order."""
        return tuple(s.id for s in SCENARIOS if not self.scenarios or s.id in self.scenarios)

    def described(self) -> dict[str, Any]:
        """The plan as it stands in a report."""
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
        """Arguments for `python -m osd_edge.device_tests` on a device with files at these paths."""
        there = {"base": base, "bundles": tuple(bundles), "scratch": scratch}
        values = vars(self) | there
        return [word for o in OPTIONS for word in o.words(values[o.name])]


OPTIONS = options_of(Plan)


def plan_of(given: Mapping[str, Any]) -> Plan:
    """The plan that a command line gives: its values by the names of the fields.

    Raises InputError `input.scenario`, `input.pin` for a list that cannot be read.
    """
    return Plan(**{o.name: o.parse(given[o.name]) for o in OPTIONS if o.name in given})


def check_plan(plan: Plan) -> None:
    """Refuse numbers out of range and scenarios that are not known. Raises InputError."""
    for entry in OPTIONS:
        entry.check(getattr(plan, entry.name))
    check_scenarios(plan.scenarios)
    if bool(plan.bundles) != (plan.base is not None):
        raise InputError(
            Code.INPUT_OPTIONS,
            "name a base package with --base and one or more bundles with --bundle, or neither: "
            "then the small model inside osd-edge is measured",
        )
    if plan.scratch is not None and not os.access(plan.scratch, os.W_OK | os.X_OK):
        raise InputError(
            Code.INPUT_SCRATCH,
            f"--scratch {plan.scratch}: expected a folder that can be written to",
        )
    if plan.pin and not hasattr(os, "sched_setaffinity"):
        raise InputError(
            Code.INPUT_PIN, "this system cannot pin a process to processors: omit --pin"
        )
