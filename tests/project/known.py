"""What breaks a rule of the project today, and is to go; nothing new may join it."""

from collections.abc import Iterable

RULES = (
    "modules in a circle",
    "parts in a circle",
    "against the direction",
    "docstring",
    "parameters",
    "path from osd_edge",
    "given up",
    "no such file",
    "not in the repository",
    "private import",
)

# Empty when all is well. Each entry is a rule's name and what breaks it, as the test says it.
KNOWN: tuple[str, ...] = (
    "modules in a circle: osd_edge.device_tests.render ↔ "
    "osd_edge.device_tests.render.charts ↔ "
    "osd_edge.device_tests.render.html",
    "parts in a circle: osd_edge.device_tests.devices ↔ osd_edge.device_tests.emulated",
    "against the direction: osd_edge.device_tests.emulated.build → "
    "osd_edge.device_tests.devices.own_wheel",
    "against the direction: osd_edge.device_tests.emulated.build → "
    "osd_edge.device_tests.devices.platform",
    "against the direction: osd_edge.device_tests.emulated.build → "
    "osd_edge.device_tests.devices.wheels",
    "docstring: osd_edge.device_tests: begins with 'What'",
    "docstring: osd_edge.device_tests.__main__: no full stop",
    "docstring: osd_edge.device_tests.devices.agent: begins with 'What'",
    "docstring: osd_edge.device_tests.devices.answers: begins with 'What'",
    "docstring: osd_edge.device_tests.devices.payload: begins with 'What'",
    "docstring: osd_edge.device_tests.devices.platform: begins with 'What'",
    "docstring: osd_edge.device_tests.gauges: begins with 'What'",
    "docstring: osd_edge.device_tests.gauges.instructions: begins with 'What'",
    "docstring: osd_edge.device_tests.gauges.machine: begins with 'Which'",
    "docstring: osd_edge.device_tests.job.sessions: begins with 'What'",
    "docstring: osd_edge.device_tests.job.sheet: begins with 'What'",
    "docstring: osd_edge.device_tests.plan: begins with 'What'",
    "docstring: osd_edge.device_tests.render.tables: begins with 'What'",
    "docstring: osd_edge.device_tests.scenarios.imports: begins with 'What'",
    "docstring: osd_edge.device_tests.scenarios.swap: begins with 'What'",
)


def hold(rule: str, broken: Iterable[str]) -> None:
    """Fails on what newly breaks the rule, and on what is in KNOWN and no longer breaks it."""
    assert rule in RULES
    assert all(one.partition(": ")[0] in RULES for one in KNOWN)
    found = {f"{rule}: {one}" for one in broken}
    known = {one for one in KNOWN if one.startswith(f"{rule}: ")}
    assert sorted(found - known) == [], "new"
    assert sorted(known - found) == [], "to be taken from KNOWN"
