"""What to measure: a base, its bundles, and how long and how often.

The same plan runs here, over ssh or in an emulated machine: `arguments` words it for
`python -m osd_edge.device_tests` there.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osd_edge.device_tests.inputs import SEED
from osd_edge.device_tests.scenarios import SCENARIOS
from osd_edge.errors import Code, InputError

DEFAULT_TASKS = 8

_MOST = {
    "tokens": 1 << 16,
    "batch": 1 << 12,
    "runs": 10**6,
    "repeats": 1000,
    "tasks": 4096,
    "soak_swaps": 10**9,
}
_MOST_PROCESSORS = 4096


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

    base: Path | None = None
    bundles: tuple[Path, ...] = ()
    tokens: int = 128
    batch: int = 1
    threads: int = 1
    runs: int = 50
    seconds: float = 2.0
    repeats: int = 5
    tasks: int = DEFAULT_TASKS
    soak_swaps: int = 2000
    scenarios: tuple[str, ...] = ()
    pin: tuple[int, ...] = ()
    scratch: Path | None = None
    withhold_latency: str | None = None
    emulated: str | None = None

    @property
    def why_no_times(self) -> str | None:
        """Why times are withheld; None where they are not."""
        if self.withhold_latency is None and self.emulated is not None:
            return f"withheld: an emulated machine's times are not a device's ({self.emulated})"
        return self.withhold_latency

    def quick(self) -> "Plan":
        """The same with the fewest runs that show that everything works; its times say little."""
        return replace(self, runs=5, seconds=0.0, repeats=2, tasks=3, soak_swaps=100)

    def chosen(self) -> tuple[str, ...]:
        """Ids of the scenarios to run, in their order."""
        return tuple(s.id for s in SCENARIOS if not self.scenarios or s.id in self.scenarios)

    def described(self) -> dict[str, Any]:
        """The plan as it stands in a report."""
        return {
            "tokens": self.tokens,
            "batch": self.batch,
            "threads": self.threads,
            "runs": self.runs,
            "seconds": self.seconds,
            "repeats": self.repeats,
            "tasks": self.tasks,
            "soak_swaps": self.soak_swaps,
            "seed": SEED,
            "pin": list(self.pin),
            "scenarios": list(self.chosen()),
            "withhold_latency": self.why_no_times,
        }

    def arguments(
        self, base: str | None, bundles: Sequence[str], scratch: str | None = None
    ) -> list[str]:
        """Arguments for `python -m osd_edge.device_tests` on a device with files at these paths."""
        words = [] if base is None else ["--base", base]
        for bundle in bundles:
            words += ["--bundle", bundle]
        for name in ("tokens", "batch", "threads", "runs", "seconds", "repeats", "tasks"):
            words += [f"--{name}", str(getattr(self, name))]
        words += ["--soak-swaps", str(self.soak_swaps)]
        words += ["--scenarios", ",".join(self.scenarios)] if self.scenarios else []
        words += ["--pin", ",".join(map(str, self.pin))] if self.pin else []
        words += [] if scratch is None else ["--scratch", scratch]
        words += [] if self.emulated is None else ["--emulated", self.emulated]
        if self.withhold_latency is not None:
            words += ["--withhold-latency", self.withhold_latency]
        return words


def check_plan(plan: Plan) -> None:
    """Refuse numbers out of range and scenarios that are not known. Raises InputError."""
    for name, most in _MOST.items():
        if not 1 <= getattr(plan, name) <= most:
            found = getattr(plan, name)
            raise InputError(Code.INPUT_NUMBER, f"{name}: expected 1 to {most}, found {found}")
    if plan.threads < 0 or not 0 <= plan.seconds < 1e6:
        raise InputError(Code.INPUT_NUMBER, "threads and seconds: expected 0 or more")
    known = [scenario.id for scenario in SCENARIOS]
    for name in plan.scenarios:
        if name not in known:
            raise InputError(
                Code.INPUT_SCENARIO, f"no scenario {name[:40]!r}; there are: {', '.join(known)}"
            )
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


def scenario_list(text: str) -> tuple[str, ...]:
    """Ids in `a,b`; none in an empty text. Raises InputError `input.scenario`."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if text and not found:
        raise InputError(Code.INPUT_SCENARIO, f"expected ids as base,swap, found {text[:40]!r}")
    return found


def processor_list(text: str) -> tuple[int, ...]:
    """Processors in `0,2-3`. Raises InputError `input.pin`."""
    found: list[int] = []
    for word in text.split(","):
        first, dash, last = word.strip().partition("-")
        ends = [end for end in (first, last if dash else first) if re.fullmatch("[0-9]{1,4}", end)]
        if len(ends) < 2 or not int(ends[0]) <= int(ends[1]) < _MOST_PROCESSORS:
            raise InputError(
                Code.INPUT_PIN, f"expected processors such as 0,2-3, found {text[:40]!r}"
            )
        found += range(int(ends[0]), int(ends[1]) + 1)
    return tuple(sorted(set(found)))
