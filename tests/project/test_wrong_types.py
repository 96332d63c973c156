"""The public face refuses an argument of a wrong type with a code.

The table has every parameter of every public function, so that a new one is not forgotten.
"""

import dataclasses
import inspect
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import osd_edge
from osd_edge import device_tests, exporters, runtime
from osd_edge.errors import OsdEdgeError
from tests.support import tiny
from tests.support.kinds import KINDS, make_embedding
from tests.support.reports import made_up
from tests.support.writers import Writer

PACKAGES = (osd_edge, exporters, runtime, device_tests)
# Made by the library and given to its users, who do not make them.
RESULTS = {
    *("BaseManifest", "Bundle", "ImageSettings", "Site", "TextSettings", "Progress", "Code"),
    *(
        "CurvePoint",
        "RowFamiliarity",
        "Score",
        "TaskReport",
        "Answer",
        "Evaluation",
        "MixedOutput",
        "Output",
    ),
    *("Span", "Tag", "Change", "Comparison", "Device", "Report", "Table"),
    *("Conversation", "GeneratedText", "Piece"),
    *("Probe", "ProbeCase", "TaskText", "Vector", "VectorDelta", "Generation"),
}
# Of these a caller uses no method, or writes it.
NOT_CALLED = {"Code", "Device", "Progress", "Report"}
# What a caller may give anything for: names that only stand in a message or on a bar.
ANY = {("silent", "items"), ("silent", "label"), ("silent", "total")}
ANY |= {("parse_report", "source"), ("check_report", "source")}
# Those are for drivers, which give the paths of another machine.
ANY |= {(f"Plan.{name}", of) for name in ("arguments",) for of in ("base", "bundles", "scratch")}

NO_PATHS = (None, 3, 2.5, b"x", [["x"]], {"x": 1})
NO_WHOLE = (None, "3", 2.5, math.nan, True, b"3", [3], {"x": 1})
NO_NUMBERS = (None, "3", True, b"3", [3], {"x": 1})
NO_NAMES = (3, 2.5, b"x", [["x"]], {"x": 1}, True)
NO_OBJECTS = (None, 3, 2.5, "x", b"x", [["x"]], {"x": 1})
NO_FLAGS = (None, 3, "yes", b"x", [["x"]], {"x": 1})


class Awkward:
    """A value that has no hash, and of which nothing can be said."""

    __hash__ = None  # type: ignore[assignment]  # so that it has none

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


# What a session is given in the place of anything: no hash, no length, no one truth, no repr.
ODD: tuple[Any, ...] = ([], set(), bytearray(b"x"), np.zeros((2, 2)), object(), Awkward(), len)
# No stop texts are fine, and a function may be asked whether to go on.
ODD_BUT_IN = {"stop": ODD[1:], "cancel": ODD[:-1]}
NO_BUDGETS = (
    *(True, 0, -1, 2.5, 16384.0, math.nan, math.inf, 2**41),
    *("", "junk", "r=0", b"16KiB", [16384], {"size": 1}),
)


@dataclass(frozen=True)
class Kit:
    """Arguments that are right, of which a case spoils one."""

    models: Path
    package: Path
    bundle: Path
    folder: Path
    session: runtime.EdgeSession
    writing: runtime.EdgeSession

    @property
    def task(self) -> dict[str, Any]:
        return {"base": self.models / "base", "tuned": self.models / "first"}

    def exporter(self) -> exporters.TaskExporter:
        return exporters.TaskExporter(**self.task)


@pytest.fixture(scope="module")
def kit(
    tiny_models: Path,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
    tiny_llama: Writer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Kit:
    session = runtime.EdgeSession(tiny_base)
    session.activate(session.load(tiny_bundles[0]))
    work, base = tmp_path_factory.mktemp("work"), tiny_models / "base"
    for name in ("token-labels", "spans"):
        task, settings = KINDS[name]
        tiny.make_tuned(base, work / name, task=task, **settings)
    make_embedding(base, work / "embedding")
    for name in ("token-labels", "spans", "embedding"):
        bundle = work / f"{name}.osd.safetensors"
        exporters.export_task(base, work / name, bundle, method="truncsvd", budget="r=1")
        session.load(bundle)
    folder = tmp_path_factory.mktemp("out")
    writing = runtime.EdgeSession(tiny_llama.package)
    writing.load(tiny_llama.bundles[0])
    return Kit(tiny_models, tiny_base, tiny_bundles[0], folder, session, writing)


@dataclass(frozen=True)
class Case:
    """A parameter with values that are wrong, the codes of their refusal, and how it is given."""

    function: str
    parameter: str
    values: tuple[Any, ...]
    codes: tuple[str, ...]
    call: Callable[[Kit, Any], object]


def case(
    where: str, values: tuple[Any, ...], codes: str, call: Callable[[Kit, Any], object]
) -> Case:
    function, parameter = where.split(":")
    return Case(function, parameter, values, tuple(codes.split()), call)


def inputs() -> dict[str, Any]:
    return {"input_ids": np.array([[2, 5, 3]])}


def task_option(name: str, values: tuple[Any, ...], codes: str, **more: Any) -> Case:
    def call(_: Kit, value: Any) -> object:
        return exporters.TaskOptions(**{"base": "b", "tuned": "t", **more, name: value})

    return case(f"TaskOptions:{name}", values, codes, call)


def field_of(kind: Callable[..., object], name: str, values: tuple[Any, ...], codes: str) -> Case:
    where = f"{getattr(kind, '__name__', kind)}:{name}"
    return case(where, values, codes, lambda _, value: kind(**{name: value}))


def _example_with(name: str, _: object, value: Any) -> osd_edge.Example:
    return osd_edge.Example("a", **{name: value})


def of_session(
    method: str, parameter: str, values: tuple[Any, ...], codes: str, **more: Any
) -> Case:
    values += ODD

    def call(kit: Kit, value: Any) -> object:
        return getattr(kit.session, method)(**{**more, parameter: value})

    return case(f"EdgeSession.{method}:{parameter}", values, codes, call)


def of_writing(
    method: str, parameter: str, values: tuple[Any, ...], codes: str, **more: Any
) -> Case:
    values += ODD_BUT_IN.get(parameter, ODD)

    def call(kit: Kit, value: Any) -> object:
        return getattr(kit.writing, method)(**{**more, parameter: value})

    return case(f"EdgeSession.{method}:{parameter}", values, codes, call)


def of_talk(parameter: str, values: tuple[Any, ...], codes: str) -> Case:
    values += ODD_BUT_IN.get(parameter, ODD)

    def call(kit: Kit, value: Any) -> object:
        return kit.writing.conversation().say(**{"text": "on", parameter: value})

    return case(f"Conversation.say:{parameter}", values, codes, call)


def of_report(function: Callable[..., object], parameter: str = "report") -> Case:
    right = {"old": made_up(), "new": made_up()} if parameter in ("old", "new") else {}
    return case(
        f"{function.__name__}:{parameter}",
        (*NO_OBJECTS, {"schema": "osd-edge-bench/1"}, {**made_up(), "machine": [["x"]]}),
        "report.schema report.malformed",
        lambda _, value: function(**{**right, parameter: value}),
    )


TEXTS = {"texts": ["a cat"]}
SPANS = {"question": "a cat", "context": "the dog"}
PROMPTS: dict[str, Any] = {"prompts": ["on"]}
# The words that say how answers are written, which two methods take.
WORDS: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    ("stream", NO_FLAGS, "input.type"),
    ("cancel", (3, "yes", b"x", [["x"]], True), "input.type"),
    ("max_tokens", (*NO_WHOLE, 0, -1), "input.number"),
    ("temperature", (*NO_NUMBERS, -1, math.nan, math.inf), "input.number"),
    ("top_k", (*NO_WHOLE, -1), "input.number"),
    ("top_p", (*NO_NUMBERS, 0, 1.5), "input.number"),
    ("min_p", (*NO_NUMBERS, -1, 1.5), "input.number"),
    ("repetition_penalty", (*NO_NUMBERS, 0), "input.number"),
    ("seed", (*NO_WHOLE[1:], -1), "input.number"),
    ("stop", ("x", 3, [1], [""], [["x"]], {"x": 1}), "input.texts"),
)
ANY_TASK = "task.unknown"

CASES = (
    # osd_edge
    case("read_bundle:data", NO_OBJECTS[:4] + NO_OBJECTS[5:], "input.type",
         lambda _, value: osd_edge.read_bundle(value)),
    case("read_bundle_file:path", NO_PATHS, "input.path",
         lambda _, value: osd_edge.read_bundle_file(value)),
    case("read_examples:path", NO_PATHS, "input.path",
         lambda _, value: osd_edge.read_examples(value)),
    case("read_manifest:folder", NO_PATHS, "input.path",
         lambda _, value: osd_edge.read_manifest(value)),
    case("check_digests:folder", NO_PATHS, "input.path",
         lambda kit, value: osd_edge.check_digests(value, kit.session.manifest)),
    case("check_digests:manifest", NO_OBJECTS, "input.type",
         lambda kit, value: osd_edge.check_digests(kit.package, value)),
    case("check_digests:progress", NO_OBJECTS, "input.type",
         lambda kit, value: osd_edge.check_digests(kit.package, kit.session.manifest, value)),
    case("check_fits:bundle", NO_OBJECTS, "input.type",
         lambda kit, value: osd_edge.check_fits(value, kit.session.manifest)),
    case("check_fits:manifest", NO_OBJECTS, "input.type",
         lambda kit, value: osd_edge.check_fits(osd_edge.read_bundle_file(kit.bundle), value)),
    case("write_bundle:bundle", NO_OBJECTS, "input.type",
         lambda _, value: osd_edge.write_bundle(value)),
    case("write_tsv:examples", NO_OBJECTS, "input.type",
         lambda kit, value: osd_edge.write_tsv(value, kit.folder / "x.tsv")),
    case("write_tsv:path", NO_PATHS, "input.path",
         lambda _, value: osd_edge.write_tsv([osd_edge.Example("a", "b")], value)),
    field_of(osd_edge.Example, "text", (None, *NO_NAMES), "input.texts"),
    case("Example:label", NO_NAMES, "input.texts", lambda _, v: osd_edge.Example("a", v)),
    case("Example:text_pair", NO_NAMES, "input.texts", lambda _, v: osd_edge.Example("a", "b", v)),
    case("Example:picture", NO_PATHS[1:], "input.path",
         lambda _, value: osd_edge.Example("a", picture=value)),
    case("Example:completion", NO_NAMES, "input.texts",
         lambda _, value: osd_edge.Example("a", completion=value)),
    case("Example:messages", (3, "x", b"x", [], ["x"], [{"role": 3, "content": "x"}]),
         "input.messages", lambda _, value: osd_edge.Example("a", messages=value)),
    *(
        case(f"Example:{name}", (3, "x", b"x", [3], {"x": 1}), "input.texts",
             partial(_example_with, name))
        for name in ("labels", "words", "tags", "answers")
    ),
    case("Example:parts", (3, "x", b"x", [3], ["ab"], [(0, 1)], [(0, 2, "x")], [(0, 1.0, "x")]),
         "input.texts", lambda _, value: osd_edge.Example("a", parts=value)),
    case("Example:line", ("3", 2.5, True, 0), "input.number",
         lambda _, value: osd_edge.Example("a", line=value)),
    # osd_edge.exporters
    field_of(exporters.BaseOptions, "sites", (None, 3, b"x", [["x"]], {"x": 1}), "input.options"),
    field_of(exporters.BaseOptions, "task", (3, *NO_NAMES), "input.options"),
    field_of(exporters.BaseOptions, "context", (0, -1, True, 2.5, "x"), "input.number"),
    field_of(exporters.BaseOptions, "fuse", NO_FLAGS, "input.options"),
    field_of(exporters.BaseOptions, "vectors", NO_FLAGS, "input.options"),
    field_of(exporters.BaseOptions, "overwrite", NO_FLAGS, "input.options"),
    field_of(exporters.BaseOptions, "weights", (None, *NO_NAMES), "input.weights"),
    field_of(exporters.BaseOptions, "factors", (None, *NO_NAMES), "input.factors"),
    field_of(exporters.BaseOptions, "tracer", (None, *NO_NAMES), "input.tracer"),
    field_of(exporters.Budget, "rank", (*NO_NUMBERS, 0, -1, math.nan), "budget.malformed"),
    field_of(exporters.Budget, "size", (*NO_WHOLE, 0, -1), "budget.malformed"),
    field_of(exporters.HeadOptions, "values", (None, *NO_NAMES), "input.values"),
    field_of(exporters.HeadOptions, "rank", (*NO_WHOLE[1:], 0), "input.number"),
    field_of(exporters.HeadOptions, "max_bytes", (*NO_WHOLE[1:], -1), "input.number"),
    task_option("base", NO_PATHS, "input.path"),
    task_option("tuned", NO_PATHS[1:], "input.path"),
    task_option("adapters", (None, 3, b"x", ["x"], [("x", "y")], [(None, 1.0)], {"x": 1}),
                "input.options input.path input.number"),
    task_option("labels", (3, 2.5, b"x", [["x"]], {"x": 1}), "input.options"),
    task_option("kind", NO_NAMES, "input.kind"),
    task_option("calibration", (3, 2.5, b"x", ["x"], [["x"]], {"x": 1}), "input.options"),
    task_option("complete", (*NO_WHOLE[1:], 0), "input.number"),
    task_option("method", (None, *NO_NAMES), "input.method"),
    task_option("budget", NO_BUDGETS, "budget.malformed"),
    task_option("keep", (*NO_NUMBERS[1:], 0, 1.5, math.nan), "budget.malformed"),
    task_option("any_base", NO_FLAGS, "input.options"),
    task_option("score_on", (3, 2.5, b"x", ["x"], [["x"]], {"x": 1}), "input.options"),
    task_option("trust_rows", (*NO_FLAGS, None), "input.options"),
    task_option("keep_by", (None, *NO_NAMES), "input.options"),
    task_option("refine", NO_NAMES, "input.refine"),
    task_option("values", NO_NAMES, "input.values", method="osd"),
    task_option("head", NO_OBJECTS[1:], "input.options", method="osd"),
    task_option("extra_rank", (*NO_WHOLE[1:], -1), "input.extra-rank", method="osd"),
    task_option("vectors", NO_FLAGS, "input.options"),
    task_option("base_weights", (None, *NO_NAMES), "input.weights"),
    task_option("sites", (None, 3, b"x", [["x"]], {"x": 1}), "input.options"),
    task_option("seed", (*NO_WHOLE, -1, 2**63), "input.number"),
    task_option("name", NO_NAMES, "input.task-name"),
    case("TaskOptions.task:out", NO_PATHS, "input.path",
         lambda _, value: exporters.TaskOptions(base="b", tuned="t").task(value)),
    case("export_base:model", NO_PATHS, "input.path",
         lambda kit, value: exporters.export_base(value, kit.folder / "package")),
    case("export_base:out", NO_PATHS, "input.path",
         lambda kit, value: exporters.export_base(kit.models / "base", value)),
    case("export_base:progress", NO_OBJECTS, "input.type", lambda kit, value: exporters.export_base(
        kit.models / "base", kit.folder / "package", progress=value)),
    case("export_task:base", NO_PATHS, "input.path", lambda kit, value: exporters.export_task(
        value, kit.models / "first", kit.folder / "x.osd.safetensors")),
    case("export_task:tuned", NO_PATHS[1:], "input.path",
         lambda kit, value: exporters.export_task(
             kit.models / "base", value, kit.folder / "x.osd.safetensors")),
    case("export_task:out", NO_PATHS, "input.path",
         lambda kit, value: exporters.export_task(**kit.task, out=value)),
    case("export_task:executor", NO_OBJECTS[1:], "input.type",
         lambda kit, value: exporters.export_task(
             **kit.task, out=kit.folder / "x", executor=value)),
    case("export_task:progress", NO_OBJECTS, "input.type",
         lambda kit, value: exporters.export_task(
             **kit.task, out=kit.folder / "x", progress=value)),
    case("export_tasks:base", NO_PATHS, "input.path", lambda kit, value: _export_tasks(
        value, {kit.folder / "x.osd.safetensors": kit.models / "first"})),
    case("export_tasks:tasks", (None, 3, "x", b"x", [["x"]], {3: "x"}, {None: "x"}, {"x": 3}),
         "input.type input.path",
         lambda kit, value: _export_tasks(kit.models / "base", value)),
    case("export_tasks:executor", NO_OBJECTS, "input.type",
         lambda kit, value: exporters.export_tasks(kit.models / "base", {}, value)),
    case("TaskExporter:base", NO_PATHS, "input.path",
         lambda kit, value: exporters.TaskExporter(value, kit.models / "first")),
    case("TaskExporter:tuned", NO_PATHS[1:], "input.path",
         lambda kit, value: exporters.TaskExporter(kit.models / "base", value)),
    case("TaskExporter:work", NO_PATHS[1:], "input.path",
         lambda kit, value: exporters.TaskExporter(**kit.task, work=value)),
    case("TaskExporter:executor", NO_OBJECTS[1:], "input.type",
         lambda kit, value: exporters.TaskExporter(**kit.task, executor=value)),
    case("TaskExporter:progress", NO_OBJECTS, "input.type",
         lambda kit, value: exporters.TaskExporter(**kit.task, progress=value)),
    case("TaskExporter.export:out", NO_PATHS, "input.path",
         lambda kit, value: kit.exporter().export(value)),
    case("TaskExporter.export:progress", NO_OBJECTS, "input.type",
         lambda kit, value: kit.exporter().export(kit.folder / "x", progress=value)),
    case("TaskExporter.close:done", NO_FLAGS, "input.type",
         lambda kit, value: kit.exporter().close(done=value)),
    # osd_edge.runtime
    case("EdgeSession:base", NO_PATHS, "input.path", lambda _, value: runtime.EdgeSession(value)),
    case("EdgeSession:threads", (*NO_WHOLE, -1, 10**12), "input.number",
         lambda kit, value: runtime.EdgeSession(kit.package, threads=value)),
    case("EdgeSession:cache_bytes", (*NO_WHOLE, -1), "input.number",
         lambda kit, value: runtime.EdgeSession(kit.package, cache_bytes=value)),
    case("EdgeSession:memory", (None, *NO_NAMES), "input.memory",
         lambda kit, value: runtime.EdgeSession(kit.package, memory=value)),
    of_session("load", "path", NO_PATHS, "input.path"),
    case("EdgeSession.load:name", NO_NAMES, "input.task-name",
         lambda kit, value: kit.session.load(kit.bundle, value)),
    *(of_session(method, "name", (None, *NO_NAMES), ANY_TASK)
      for method in ("kind", "labels", "activate", "unload")),
    of_session("run", "inputs", NO_OBJECTS, "input.names"),
    of_session("run", "task", NO_NAMES, ANY_TASK, inputs=inputs()),
    of_session("run", "tasks", NO_NAMES, "input.tasks task.unknown", inputs=inputs()),
    of_writing("generate", "prompts", NO_OBJECTS, "input.prompt"),
    of_writing("generate", "task", NO_NAMES, "task.unknown", **PROMPTS),
    of_writing("generate", "tasks", NO_NAMES, "input.tasks task.unknown", **PROMPTS),
    *(of_writing("generate", *one, **PROMPTS) for one in WORDS),
    *(of_talk(*one) for one in WORDS),
    of_talk("text", (None, "", *NO_NAMES), "input.texts"),
    of_talk("recompute", NO_FLAGS, "input.type"),
    case("Conversation.save:path", (*NO_PATHS, *ODD), "input.path",
         lambda kit, value: kit.writing.conversation().save(value)),
    of_writing("conversation", "task", NO_NAMES, "task.unknown"),
    of_writing("conversation", "system", NO_NAMES, "input.messages"),
    *(of_writing("conversation", name, (*NO_WHOLE[1:], 0), "input.number")
      for name in ("max_tokens", "max_bytes")),
    of_writing("conversation", "when_full", (None, "forget", *NO_NAMES), "input.options"),
    of_writing("restore_conversation", "path", NO_PATHS, "input.path"),
    of_writing("restore_conversation", "recompute", NO_FLAGS, "input.type", path="x"),
    *(of_session(method, "texts", NO_OBJECTS, "input.texts")
      for method in ("ask", "classify", "encode")),
    *(of_session(method, "pairs", NO_OBJECTS[1:], "input.texts", **TEXTS)
      for method in ("ask", "classify", "encode")),
    *(of_session(method, "max_length", (*NO_WHOLE[1:], 0, -1), "input.max-length", **TEXTS)
      for method in ("ask", "classify", "encode")),
    *(of_session(method, "task", NO_NAMES, ANY_TASK, **TEXTS) for method in ("ask", "classify")),
    of_session("ask", "question", NO_NAMES, "input.question", **TEXTS),
    of_session("encode", "task", NO_NAMES, ANY_TASK, **TEXTS),
    *(of_session(method, "tasks", NO_NAMES, "input.tasks task.unknown", **TEXTS)
      for method in ("classify", "encode")),
    of_session("tag", "texts", NO_OBJECTS, "input.texts"),
    of_session("tag", "words", NO_FLAGS, "input.type", **TEXTS, task="token-labels"),
    of_session("tag", "task", NO_NAMES, ANY_TASK, **TEXTS),
    of_session("tag", "max_length", (*NO_WHOLE[1:], 0), "input.max-length", **TEXTS,
               task="token-labels"),
    of_session("tag", "stride", (*NO_WHOLE, -1), "input.stride", **TEXTS, task="token-labels"),
    of_session("answer", "question", (None, *NO_NAMES), "input.texts", context="a", task="spans"),
    of_session("answer", "context", (None, *NO_NAMES), "input.texts", question="a", task="spans"),
    of_session("answer", "top", (*NO_WHOLE, 0), "input.number", **SPANS, task="spans"),
    of_session("answer", "max_tokens", (*NO_WHOLE, 0), "input.number", **SPANS, task="spans"),
    of_session("answer", "task", NO_NAMES, ANY_TASK, **SPANS),
    of_session("answer", "max_length", (*NO_WHOLE[1:], 0), "input.max-length", **SPANS,
               task="spans"),
    of_session("answer", "stride", (*NO_WHOLE, -1), "input.stride", **SPANS, task="spans"),
    of_session("embed", "texts", NO_OBJECTS, "input.texts", task="embedding"),
    of_session("embed", "task", NO_NAMES, ANY_TASK, **TEXTS),
    of_session("embed", "max_length", (*NO_WHOLE[1:], 0), "input.max-length", **TEXTS,
               task="embedding"),
    case("Answer.chosen:least", (*NO_NUMBERS, math.nan), "input.number",
         lambda _, value: runtime.Answer("a", 0.5, {"a": 0.5}).chosen(value)),
    case("evaluate:session", NO_OBJECTS, "input.type",
         lambda _, value: runtime.evaluate(value, "first", [])),
    case("evaluate:task", (None, *NO_NAMES), ANY_TASK,
         lambda kit, value: runtime.evaluate(kit.session, value, [])),
    case("evaluate:examples", NO_OBJECTS, "input.type",
         lambda kit, value: runtime.evaluate(kit.session, "first", value)),
    case("evaluate:max_length", (*NO_WHOLE[1:], 0), "input.max-length",
         lambda kit, value: runtime.evaluate(kit.session, "first", _rows(), max_length=value)),
    case("evaluate:progress", NO_OBJECTS, "input.type",
         lambda kit, value: runtime.evaluate(kit.session, "first", _rows(), progress=value)),
    # osd_edge.device_tests
    *(field_of(device_tests.Plan, name, NO_PATHS[1:], "input.path")
      for name in ("base", "scratch")),
    field_of(device_tests.Plan, "bundles", (None, 3, b"x", [3], [["x"]], {"x": 1}), "input.path"),
    *(field_of(device_tests.Plan, name, NO_WHOLE, "input.number")
      for name in ("tokens", "batch", "threads", "runs", "repeats", "tasks", "soak_swaps",
                   "answer_tokens")),
    field_of(device_tests.Plan, "seconds", NO_NUMBERS, "input.number"),
    field_of(device_tests.Plan, "scenarios", (None, 3, "base", b"x", [3], {"x": 1}),
             "input.scenario"),
    field_of(device_tests.Plan, "pin", (None, 3, "0", b"x", ["x"], [True], {"x": 1}), "input.pin"),
    *(field_of(device_tests.Plan, name, NO_NAMES, "input.type")
      for name in ("withhold_latency", "emulated")),
    case("measure:plan", NO_OBJECTS, "input.type", lambda _, value: device_tests.measure(value)),
    case("measure:progress", NO_OBJECTS, "input.type",
         lambda _, value: device_tests.measure(device_tests.Plan(), progress=value)),
    case("measure:keep", NO_OBJECTS, "input.type",
         lambda _, value: device_tests.measure(device_tests.Plan(), keep=value)),
    case("open_device:name", (None, *NO_NAMES), "input.device",
         lambda _, value: device_tests.open_device(value)),
    case("read_report:path", NO_PATHS, "input.path",
         lambda _, value: device_tests.read_report(value)),
    case("parse_report:text", (None, *NO_NAMES), "input.type",
         lambda _, value: device_tests.parse_report(value)),
    of_report(device_tests.check_report, "value"),
    *(of_report(device_tests.compare, name) for name in ("old", "new")),
    *(of_report(function) for function in (device_tests.facts_of, device_tests.tables_of)),
    *(of_report(function)
      for function in (device_tests.to_csv, device_tests.to_html, device_tests.to_llama_bench,
                       device_tests.to_markdown)),
    case("to_markdown:level", (*NO_WHOLE, 0), "input.number",
         lambda _, value: device_tests.to_markdown(made_up(), level=value)),
)  # fmt: skip


def _rows() -> list[osd_edge.Example]:
    return [osd_edge.Example("a cat", "red")]


def _export_tasks(base: Any, tasks: Any) -> object:
    with ThreadPoolExecutor(1) as executor:
        return exporters.export_tasks(base, tasks, executor)


@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.function}-{one.parameter}")
def test_a_wrong_type_is_refused_with_a_code(one: Case, kit: Kit) -> None:
    for value in one.values:
        with pytest.raises(OsdEdgeError) as refusal:
            one.call(kit, value)
        assert refusal.value.code in one.codes, (type(value), refusal.value)
        assert len(str(refusal.value)) < 600 and "\n" not in str(refusal.value)
    assert not any(kit.folder.iterdir()), "something was written"


PICTURES = {"images": np.zeros((1, 16, 16, 3), np.uint8)}


@pytest.mark.parametrize(
    ("parameter", "values", "codes"),
    [
        ("images", (*NO_OBJECTS, [[1], [1, 2]]), ["input.shape"]),
        ("task", NO_NAMES, [ANY_TASK]),
        ("tasks", (3, 2.5, b"x", {"x": 1}, True), ["input.tasks"]),
    ],
)
def test_a_wrong_type_beside_pictures_is_refused_with_a_code(
    parameter: str, values: tuple[Any, ...], codes: list[str], kit: Kit, with_pictures: None
) -> None:
    for value in values:
        with pytest.raises(OsdEdgeError) as refusal:
            kit.session.classify_images(**PICTURES | {parameter: value})
        assert refusal.value.code in codes, value


@pytest.fixture
def with_pictures(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package says how pictures are prepared, though its graph takes tokens."""
    settings = osd_edge.ImageSettings(16, 16, 3, 1 / 255, (0.5,) * 3, (0.5,) * 3)
    manifest = dataclasses.replace(kit.session.manifest, image=settings)
    monkeypatch.setattr(runtime.EdgeSession, "manifest", manifest)


def test_every_public_parameter_is_in_the_table() -> None:
    listed = {(one.function, one.parameter) for one in CASES} | ANY
    listed |= {("EdgeSession.classify_images", name) for name in ("images", "task", "tasks")}
    public = set(_public())
    assert public - listed == set()
    assert listed - public == set(), "no such parameter any more"


def _public() -> Iterator[tuple[str, str]]:
    """Every public function, method and class that callers make, with each of its parameters."""
    for package in PACKAGES:
        for name in package.__all__:
            public = getattr(package, name)
            refusal = inspect.isclass(public) and issubclass(public, OsdEdgeError)
            if callable(public) and not refusal and name not in RESULTS:
                yield from ((name, one) for one in _parameters(public))
            if inspect.isclass(public) and not refusal and name not in NOT_CALLED:
                for method, own in inspect.getmembers(public, inspect.isfunction):
                    if not method.startswith("_"):
                        yield from ((f"{name}.{method}", one) for one in _parameters(own))


def _parameters(function: Callable[..., object]) -> list[str]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = inspect.signature(function).parameters.values()
    return [one.name for one in named if one.kind not in kinds and one.name != "self"]


class Folder(os.PathLike[str]):
    """Names a path, and is no Path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("of", [str, Path, Folder])
def test_the_whole_way_takes_paths_of_any_kind(
    of: Callable[[Path], Any], kit: Kit, tmp_path: Path
) -> None:
    base, tuned, texts = kit.models / "base", kit.models / "first", tmp_path / "texts.tsv"
    bundle, package = tmp_path / "t.osd.safetensors", tmp_path / "package"
    osd_edge.write_tsv(_rows(), of(texts))
    rows = osd_edge.read_examples(of(texts))
    manifest = exporters.export_base(of(base), of(package))
    osd_edge.check_digests(of(package), osd_edge.read_manifest(of(package)))
    report = exporters.export_task(
        of(base), of(tuned), of(bundle), calibration=of(texts), method="truncsvd", budget=16384
    )
    assert (report.path, report.size < 16384) == (str(bundle), True)
    osd_edge.check_fits(osd_edge.read_bundle_file(of(bundle)), manifest)
    exporter = exporters.TaskExporter(of(base), of(tuned), work=of(tmp_path / "work"))
    assert exporter.export(of(tmp_path / "u.osd.safetensors"), method="truncsvd").task == "u"
    with ThreadPoolExecutor(1) as executor:
        exporters.export_tasks(of(base), {of(tmp_path / "v"): of(tuned)}, executor, refine="none")
    session = runtime.EdgeSession(of(package))
    assert runtime.evaluate(session, session.load(of(bundle)), rows).examples == 1
    plan = device_tests.Plan(base=of(package), bundles=[of(bundle)], scratch=of(tmp_path))
    assert plan == device_tests.Plan(base=package, bundles=(bundle,), scratch=tmp_path)


def test_a_budget_in_bytes_is_what_its_text_is(kit: Kit, tmp_path: Path) -> None:
    files = []
    for budget in (4096, "4KiB", exporters.Budget(size=4096), np.int64(4096)):
        exporter = exporters.TaskExporter(**kit.task, budget=budget)
        exporter.export(tmp_path / "t.osd.safetensors")
        files.append((tmp_path / "t.osd.safetensors").read_bytes())
    assert len(set(files)) == 1 and 3072 < len(files[0]) <= 4096


def test_two_tasks_of_one_file_are_refused_before_either_is_made(kit: Kit, tmp_path: Path) -> None:
    file, tuned = tmp_path / "t.osd.safetensors", kit.models / "first"
    with pytest.raises(OsdEdgeError) as refusal:
        _export_tasks(kit.models / "base", {file: tuned, str(file): tuned})
    assert (refusal.value.code, list(tmp_path.iterdir())) == ("output.same", [])


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300])
def test_a_name_that_no_file_can_have_is_refused_wherever_it_is_given(
    name: str, kit: Kit, tmp_path: Path
) -> None:
    base, tuned, out = kit.models / "base", kit.models / "first", tmp_path / "t.osd.safetensors"
    calls: list[tuple[str, Callable[[], object]]] = [
        ("bundle.missing", lambda: osd_edge.read_bundle_file(name)),
        ("data.missing", lambda: osd_edge.read_examples(name)),
        ("base.missing", lambda: runtime.EdgeSession(name)),
        ("base.file", lambda: osd_edge.check_digests(name, kit.session.manifest)),
        ("report.missing", lambda: device_tests.read_report(name)),
        ("output.unwritable", lambda: osd_edge.write_tsv(_rows(), name)),
        ("output.unwritable", lambda: exporters.export_base(base, name)),
        ("output.unwritable", lambda: exporters.export_task(base, tuned, name, name="t")),
        ("model.missing", lambda: exporters.export_task(base, name, out)),
        ("model.adapter", lambda: exporters.export_task(base, None, out, adapters=[(name, 1)])),
        ("input.scratch", lambda: device_tests.measure(device_tests.Plan(scratch=name))),
    ]
    for refused, call in calls:
        with pytest.raises(OsdEdgeError) as refusal:
            call()
        assert refusal.value.code == refused
    assert not any(tmp_path.iterdir())
