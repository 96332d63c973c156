"""Reports made up for tests: of a machine whose figures are known."""

import copy
from typing import Any

from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.schema import SCHEMA, Report

_MEMORY = ("rss_bytes", "pss_bytes", "uss_bytes", "anonymous_bytes", "peak_rss_bytes")


def spread(p50: float, spread_share: float = 0.02) -> dict[str, float]:
    low, high = p50 * (1 - spread_share), p50 * (1 + spread_share)
    return {"n": 50, "min": low, "p10": low, "p50": p50, "p90": high, "p95": high, "p99": high} | {
        "trimmed_mean": p50
    }


def memory(mib: float) -> dict[str, Any]:
    return dict.fromkeys(_MEMORY, mib * 2**20)


def part(figures: dict[str, Any], **of: Any) -> dict[str, Any]:
    return ({"of": of} if of else {}) | {"figures": figures, "missing": {}}


def scenario(name: str, figures: dict[str, Any], rows: Any = (), **more: Any) -> dict[str, Any]:
    usual = {"id": name, "title": f"the {name}", "role": "osd-edge", "status": "done"}
    return usual | {"reason": None, "rows": list(rows), "checks": []} | part(figures) | more


def growing(name: str, each: float, **more: Any) -> dict[str, Any]:
    rows = [part(memory(100 + each * n), tasks=n) for n in (0, 1, 2, 4, 8)]
    figures = memory(100 + each * 8) | {"fitting_count": 8, "wanted_count": 8}
    return scenario(
        name, figures | {"per_task_bytes": each * 2**20, "disk_bytes": 9e7}, rows, **more
    )


def made_up() -> Report:
    """A report with every part in it, each time a new one."""
    latency = [
        part({"latency_ms": spread(30), "cpu_ms": spread(30)}, way="plain graph"),
        part({"latency_ms": spread(31), "to_plain_ratio": spread(1.03)}, way="no task"),
        part({"latency_ms": spread(32), "to_plain_ratio": spread(1.07)}, task="mr"),
    ]
    swap = {"cold_ms": spread(4), "warm_ms": spread(0.001), "load_ms": spread(3)}
    today = {"role": "today"}
    report = {
        "schema": SCHEMA,
        "created": "2026-01-02T03:04:05+00:00",
        "tool": {"name": "osd-edge", "version": "0.1.0"},
        "verdict": {"status": "passed", "line": "PASSED: everything"},
        "refused": None,
        "machine": {"kind": "native", "processor": "a <processor>", "architecture": "aarch64"},
        "plan": {"tokens": 128, "batch": 1, "threads": 1, "withhold_latency": None},
        "base": {"name": "minilm", "family": "bert", "fingerprint": "ab" * 32, "file_bytes": 9e7},
        "tasks": [{"task": "mr", "file": "mr", "file_bytes": 16000, "decoded_bytes": 900000}],
        "conformance": {"status": "passed", "cases": 3, "failures": []},
        "scenarios": [
            scenario("start", memory(90) | {"cold_start_ms": spread(500)}),
            scenario("task", memory(95) | {"latency_ms": spread(32)}, latency),
            growing("tasks", 1),
            scenario("swap", swap, [part(dict(swap), task="mr")]),
            scenario(
                "soak",
                memory(95) | {"growth_bytes": 0},
                [part({"anonymous_bytes": 9e7}, swaps=n) for n in (10, 20, 30)],
            ),
            growing("models", 50, **today),
            growing("session-per-task", 45, **today),
            growing("lora-adapter", 2, **today),
            scenario("rebuild", memory(95) | {"request_ms": spread(70)}, **today),
        ],
        "conditions": part({"load_start_count": 0.5}),
        "noise": part({"aa_ratio": spread(1.0), "start_pss_bytes": spread(9e7, 0.001)}),
        "notes": ["a | note"],
    }
    return check_report(copy.deepcopy(report))
