"""The job that crosses to the process that plays a scenario, and the sheet that comes back."""

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from osd_edge.device_tests.report.schema import Check, Figure, Missing, Row

CLOCK = time.monotonic_ns  # the system's, the same in every process
NOT_AVAILABLE = "not available here"


@dataclass(frozen=True)
class Job:
    """One scenario to play, with what it needs of the plan, whose fields have the same names.

    `ids` are `[batch, tokens]`. `started_ns` is what `CLOCK` said before the process was
    started. Without `timed`, rounds that only give times are left out.
    """

    scenario: str
    base: str
    bundles: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    threads: int
    runs: int
    seconds: float
    tasks: int
    soak_swaps: int
    answer_tokens: int
    pin: tuple[int, ...]
    scratch: str | None
    timed: bool
    started_ns: int

    def to_json(self) -> str:
        """Writes the job as JSON, for the process's standard input."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Job":
        """Reads the job that `to_json` wrote."""
        fields = json.loads(text)
        for name in ("bundles", "pin"):
            fields[name] = tuple(fields[name])
        fields["ids"] = tuple(tuple(row) for row in fields["ids"])
        return Job(**fields)


@dataclass
class Sheet:
    """A record on which a scenario notes its figures, its rows and what it checked."""

    figures: dict[str, Figure] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def put(self, name: str, figure: Figure, reason: str = NOT_AVAILABLE) -> None:
        """Notes a figure; None is noted as not available, for `reason`."""
        self.figures[name] = figure
        if figure is None:
            self.missing[name] = {"why": "not_available", "reason": reason}

    def add_row(self, **of: str | int) -> "Sheet":
        """Adds a row and returns it as a sheet; `of` says what the row's figures are of."""
        row = Sheet()
        self.rows.append({"of": of, "figures": row.figures, "missing": row.missing})
        return row

    def check(self, name: str, passed: bool, message: str) -> None:
        """Notes something that is right or wrong."""
        self.checks.append({"id": name, "passed": bool(passed), "message": message})

    def as_dict(self) -> dict[str, Any]:
        """Returns the sheet as plain JSON data."""
        return asdict(self)
