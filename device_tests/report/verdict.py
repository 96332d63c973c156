"""Judges a report: passed, failed or incomplete, in one line."""

from osd_edge.device_tests.report.schema import Report, Scenario, Verdict
from osd_edge.errors import shown


def failed_checks(scenario: Scenario) -> list[str]:
    """Lists the messages of what a scenario found to be wrong."""
    return [check["message"] for check in scenario["checks"] if not check["passed"]]


def verdict_of(report: Report, *, finished: bool) -> Verdict:
    """Judges what `report` holds so far.

    A way of today's that this device has no room for does not fail it: that is a finding.
    """
    conformance, scenarios = report["conformance"], report["scenarios"]
    wrong = []
    if report["refused"] is not None:
        wrong.append(f"{report['refused']['message']} [{report['refused']['code']}]")
    if conformance["failures"]:
        ids = ", ".join(failure["id"] for failure in conformance["failures"][:3])
        wrong.append(
            f"conformance: {len(conformance['failures'])} of {conformance['cases']} cases ({ids})"
        )
    for scenario in scenarios:
        if scenario["status"] == "failed" and scenario["role"] == "osd-edge":
            assert scenario["reason"] is not None
            wrong.append(f"{scenario['id']}: {scenario['reason']['message']}")
        wrong += [f"{scenario['id']}: {message}" for message in failed_checks(scenario)]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return {"status": "failed", "line": f"FAILED: {shown(wrong[0], 300)}{more}"}
    counts = _counts(scenarios)
    if not finished:
        return {"status": "incomplete", "line": f"INCOMPLETE: broken off; {counts}"}
    cases = {
        "passed": f"conformance {conformance['cases']} of {conformance['cases']} cases",
        "failed": "",
        "not_run": "conformance not run",
    }[conformance["status"]]
    return {"status": "passed", "line": f"PASSED: {cases}; {counts}"}


def _counts(scenarios: list[Scenario]) -> str:
    words = []
    for status, word in (
        ("done", "done"),
        ("failed", "without room or means here"),
        ("withheld", "withheld"),
        ("not_reached", "not reached"),
    ):
        count = sum(scenario["status"] == status for scenario in scenarios)
        if count:
            words.append(f"{count} {word}")
    return f"scenarios: {', '.join(words)}" if words else "no scenarios"
