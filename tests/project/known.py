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
    "modules in a circle: osd_edge.exporters.compare.peers ↔ "
    "osd_edge.exporters.compare.peers.axis_sign ↔ "
    "osd_edge.exporters.compare.peers.bitdelta ↔ "
    "osd_edge.exporters.compare.peers.compeft ↔ "
    "osd_edge.exporters.compare.peers.controls ↔ "
    "osd_edge.exporters.compare.peers.int4 ↔ "
    "osd_edge.exporters.compare.peers.lora ↔ "
    "osd_edge.exporters.compare.peers.registry ↔ "
    "osd_edge.exporters.compare.peers.zstd",
    "parts in a circle: osd_edge.device_tests.devices ↔ osd_edge.device_tests.emulated",
    "parts in a circle: osd_edge.exporters.methods.options ↔ osd_edge.exporters.methods.paper",
    "against the direction: osd_edge.device_tests.emulated.build → "
    "osd_edge.device_tests.devices.own_wheel",
    "against the direction: osd_edge.device_tests.emulated.build → "
    "osd_edge.device_tests.devices.platform",
    "against the direction: osd_edge.device_tests.emulated.build → "
    "osd_edge.device_tests.devices.wheels",
    "docstring: osd_edge.cli.answers: begins with 'What'",
    "docstring: osd_edge.cli.output: begins with 'What'",
    "docstring: osd_edge.data: begins with 'What'",
    "docstring: osd_edge.formats.bundle.summary: begins with 'What'",
    "docstring: osd_edge.exporters.compare.peers.peer: begins with 'What'",
    "docstring: osd_edge.exporters.compare.peers.source: begins with 'What'",
    "docstring: osd_edge.exporters.demo.errands: no full stop",
    "docstring: osd_edge.exporters.demo.money: no full stop",
    "docstring: osd_edge.exporters.demo.recipe: begins with 'What'",
    "docstring: osd_edge.exporters.demo.turn: no full stop",
    "docstring: osd_edge.exporters.methods.osd_rd.distillation: begins with 'How far'",
    "docstring: osd_edge.exporters.methods.osd_rd.work_folder: begins with 'What'",
    "docstring: osd_edge.exporters.methods.osd_rd.work_key: begins with 'What'",
    "docstring: osd_edge.exporters.methods.paper.sparsify: begins with 'Which'",
    "docstring: osd_edge.exporters.methods.report: begins with 'What'",
    "docstring: osd_edge.exporters.methods.stored.latents: begins with 'What'",
    "docstring: osd_edge.exporters.models: begins with 'What'",
    "docstring: osd_edge.exporters.models.backbone: begins with 'What'",
    "docstring: osd_edge.exporters.models.head_plan: begins with 'What'",
    "docstring: osd_edge.exporters.scoring.calibrated_task: begins with 'What'",
    "docstring: osd_edge.exporters.scoring.frozen_probe: begins with 'How far'",
    "docstring: osd_edge.exporters.scoring.held_back: begins with 'Which'",
    "docstring: osd_edge.runtime.inputs: begins with 'What'",
    "docstring: osd_edge.runtime.output: begins with 'What'",
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
    "parameters: osd_edge.exporters.demo.finetune.finetune: 11",
    "parameters: osd_edge.exporters.graph.weights.store_weights: 7",
    "parameters: osd_edge.exporters.methods.options.check_options: 12",
    "parameters: osd_edge.exporters.methods.osd_rd.coded_task.CodedTask.__init__: 8",
    "parameters: osd_edge.exporters.methods.osd_rd.compress.RateDistortion.__init__: 8",
    "parameters: osd_edge.exporters.methods.osd_rd.refine.refine: 7",
    "parameters: osd_edge.exporters.models.fine_tuned.open_fine_tuned: 7",
    "parameters: osd_edge.exporters.task.TaskExporter.__init__: 11",
    "parameters: osd_edge.exporters.task.TaskExporter.export: 11",
    "parameters: osd_edge.runtime.session.EdgeSession.answer: 7",
    "given up: osd_edge.formats.package.fp16_factors: half",
    "given up: osd_edge.exporters.compare.peers.flat: half",
    "given up: osd_edge.exporters.compare.peers.lora: _half",
    "given up: osd_edge.exporters.compare.peers.source: pair",
    "given up: osd_edge.exporters.graph.weights: _half",
    "given up: osd_edge.exporters.graph.weights: half",
    "given up: osd_edge.exporters.methods.frozen_head: pair",
    "given up: osd_edge.exporters.methods.osd_rd.coded_task: measured",
    "given up: osd_edge.exporters.methods.paper.paper_task: measured",
    "given up: osd_edge.exporters.methods.stored.values: half",
    "given up: osd_edge.exporters.task: pair",
    "given up: osd_edge.exporters.task: measured",
    "given up: osd_edge.runtime.task: half",
    "no such file: CONTRIBUTING.md has exporters/methods/registry.py",
    "no such file: CONTRIBUTING.md has exporters/methods/base.py",
    "no such file: comparison.md has exporters/methods/registry.py",
    "not in the repository: architecture.svg has exporters/methods/registry.py",
)


def hold(rule: str, broken: Iterable[str]) -> None:
    """Fails on what newly breaks the rule, and on what is in KNOWN and no longer breaks it."""
    assert rule in RULES
    assert all(one.partition(": ")[0] in RULES for one in KNOWN)
    found = {f"{rule}: {one}" for one in broken}
    known = {one for one in KNOWN if one.startswith(f"{rule}: ")}
    assert sorted(found - known) == [], "new"
    assert sorted(known - found) == [], "to be taken from KNOWN"
