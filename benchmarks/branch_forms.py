"""Other forms of a delta branch in an encoder's graph, timed beside the one that packages have.

`python -m benchmarks.branch_forms --base DIR --bundle FILE [--threads 2] [--tokens 128]`. All
forms run in one process, in shuffled rounds, over several openings, since where a session's
buffers come to lie moves its times by a few percent. Figures are ratios to the plain graph: of
fast runs (the 15th percentile) of one opening; their median, least and largest over openings. Then
the milliseconds of each form's operators, by onnxruntime's profiler, with a task.

The forms are for timing: only that of packages takes a batch of several tasks in all cases.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from osd_edge.device_tests.job.inputs import graph_inputs, token_ids
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.package.feeds import factor_feeds
from osd_edge.formats.package.manifest import MODEL, PLAIN_MODEL
from osd_edge.formats.package.manifest_reader import read_manifest

GraphFeeds = Mapping[str, NDArray[Any]]
Form = Callable[["GraphBranch"], list[onnx.NodeProto]]
_node = helper.make_node
_FAST = 0.15  # the quantile that is compared: other programs only ever slow a run down


class GraphBranch:
    """One branch of a package's graph, and names of its tensors."""

    def __init__(
        self, add: onnx.NodeProto, by_name: Mapping[str, onnx.NodeProto], sizes: Mapping[str, int]
    ) -> None:
        """Reads the branch whose sum is `add`; `sizes` has n by the name of a u."""
        self.name = add.name.removesuffix("/sum")
        self.base, self.delta = add.input
        self.result = add.output[0]
        self.x, self.v = by_name[f"{self.name}/low"].input
        self.u = by_name[f"{self.name}/delta"].input[1]
        self.n = sizes[self.u]

    def node(self, kind: str, inputs: list[str], name: str, **settings: Any) -> onnx.NodeProto:
        """A node of the branch, whose output is `name`, or the branch's result for `sum`."""
        output = self.result if name == "sum" else f"{self.name}/{name}"
        return _node(kind, inputs, [output], f"{self.name}/{name}", **settings)

    def products(self) -> list[onnx.NodeProto]:
        """The two products of a branch as packages have it."""
        low = self.node("MatMul", [self.x, self.v], "low")
        return [low, self.node("MatMul", [f"{self.name}/low", self.u], "delta")]

    def back(self) -> onnx.NodeProto:
        """The reshape of rows `[batch · tokens, n]` to the shape of the base's result."""
        return self.node("Reshape", [f"{self.name}/rows", f"shape {self.n}"], "sum")


def gemm(branch: GraphBranch) -> list[onnx.NodeProto]:
    """The second product is a Gemm whose C is the base's result; factors of one task."""
    name = branch.name
    return [
        branch.node("MatMul", [branch.x, branch.v], "low"),
        branch.node("Flatten", [f"{name}/low"], "low2", axis=2),
        branch.node("Squeeze", [branch.u, "zero"], "u2"),
        branch.node("Flatten", [branch.base], "base2", axis=2),
        branch.node("Gemm", [f"{name}/low2", f"{name}/u2", f"{name}/base2"], "rows"),
        branch.back(),
    ]


def conv(branch: GraphBranch) -> list[onnx.NodeProto]:
    """FusedConv adds the second product to the base's result in place; factors of one task."""
    name = branch.name
    return [
        branch.node("MatMul", [branch.x, branch.v], "low"),
        branch.node("Flatten", [f"{name}/low"], "low2", axis=2),
        branch.node("Unsqueeze", [f"{name}/low2", "two"], "filters"),
        branch.node("Flatten", [branch.base], "base2", axis=2),
        branch.node("Unsqueeze", [f"{name}/base2", "zero"], "base3"),
        branch.node(
            "FusedConv",
            [branch.u, f"{name}/filters", "", f"{name}/base3"],
            "rows",
            domain="com.microsoft",
            kernel_shape=[1],
        ),
        branch.back(),
    ]


def conditional(branch: GraphBranch) -> list[onnx.NodeProto]:
    """An If runs the branch where the task has columns there, and copies the result otherwise."""
    name = branch.name
    then = helper.make_tensor_value_info(f"{name}/then", TensorProto.FLOAT, None)
    other = helper.make_tensor_value_info(f"{name}/else", TensorProto.FLOAT, None)
    with_task = [*branch.products(), branch.node("Add", [branch.base, branch.delta], "then")]
    without = [branch.node("Identity", [branch.base], "else")]
    return [
        branch.node("Shape", [branch.u], "columns", start=1, end=2),
        branch.node("Squeeze", [f"{name}/columns"], "k"),
        branch.node("Cast", [f"{name}/k"], "any", to=TensorProto.BOOL),
        branch.node(
            "If",
            [f"{name}/any"],
            "sum",
            then_branch=helper.make_graph(with_task, f"{name}/task", [], [then]),
            else_branch=helper.make_graph(without, f"{name}/none", [], [other]),
        ),
    ]


def write_forms(folder: Path) -> list[str]:
    """Writes graphs of other forms beside the package's in `folder`; returns their names."""
    forms: dict[str, Form] = {"gemm": gemm, "conv": conv, "if": conditional}
    for name, form in forms.items():
        _rewrite(folder, name, form)
    _fold_into_sums(folder, "fold")
    _share_products(folder, "shared")
    return [*forms, "fold", "shared"]


def _open(folder: Path) -> tuple[onnx.ModelProto, list[GraphBranch]]:
    model = onnx.load(str(folder / MODEL), load_external_data=False)
    by_name = {node.name: node for node in model.graph.node}
    adds = [n for n in model.graph.node if n.op_type == "Add" and n.name.endswith("/sum")]
    # Those of rows without a sequence axis, a pooler's, are short and stay.
    sizes = {site.u: site.n for site in read_manifest(folder).sites if site.u is not None}
    own = [add for add in adds if f"{add.name.removesuffix('/sum')}/rows" not in by_name]
    return model, [GraphBranch(add, by_name, sizes) for add in own]


def _rewrite(folder: Path, name: str, form: Form) -> None:
    model, branches = _open(folder)
    made = {f"{branch.name}/sum": form(branch) for branch in branches}
    dropped = {f"{branch.name}/{part}" for branch in branches for part in ("low", "delta")}
    nodes = [node for node in model.graph.node if node.name not in dropped]
    del model.graph.node[:]
    model.graph.node.append(_node("Shape", [model.graph.input[0].name], ["tokens"], "tokens"))
    for n in {branch.n for branch in branches}:
        model.graph.initializer.append(numpy_helper.from_array(np.array([n]), f"{n}"))
        shape = _node("Concat", ["tokens", f"{n}"], [f"shape {n}"], f"shape {n}", axis=0)
        model.graph.node.append(shape)
    for node in nodes:
        model.graph.node.extend(made.get(node.name, [node]))
    for branch in branches:
        # Equal shapes are what lets FusedConv write over the tensor that it adds to.
        for tensor in ("base3", "rows") if form is conv else ():
            info: list[str | int | None] = [1, "rows", branch.n]
            model.graph.value_info.append(
                helper.make_tensor_value_info(f"{branch.name}/{tensor}", TensorProto.FLOAT, info)
            )
    for constant, value in (("zero", 0), ("two", 2)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), constant))
    _save(model, folder, name)


def _fold_into_sums(folder: Path, name: str) -> None:
    """Where the base's result goes into a residual sum, that sum takes the delta as well."""
    model, branches = _open(folder)
    results = {branch.result: branch for branch in branches}
    folded = set()
    for node in model.graph.node:
        branch = results.get(node.input[0]) if node.op_type == "Sum" else None
        if branch is not None:
            terms = [branch.base, branch.delta, *node.input[1:]]
            del node.input[:]
            node.input.extend(terms)
            folded.add(f"{branch.name}/sum")
    nodes = [node for node in model.graph.node if node.name not in folded]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _save(model, folder, name)


def _share_products(folder: Path, name: str) -> None:
    """Layers that read the same x share a product with all their v; each has its rows of U."""
    model, branches = _open(folder)
    first: dict[str, GraphBranch] = {}
    for branch in branches:
        first.setdefault(branch.x, branch)
    again = {f"{b.name}/low": first[b.x] for b in branches if first[b.x] is not b}
    nodes = [node for node in model.graph.node if node.name not in again]
    for node in nodes:
        for i, tensor in enumerate(node.input):
            if tensor in again:
                node.input[i] = f"{again[tensor].name}/low"
    unused = {b.v for b in branches if first[b.x] is not b}
    for entries in (model.graph.input, model.graph.initializer):
        kept = [entry for entry in entries if entry.name not in unused]
        del entries[:]
        entries.extend(kept)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _save(model, folder, name)


def shared_feeds(folder: Path, feeds: GraphFeeds) -> dict[str, NDArray[Any]]:
    """Factors of one task for the form `shared`."""
    shared = dict(feeds)
    groups: dict[str, list[GraphBranch]] = defaultdict(list)
    for branch in _open(folder)[1]:
        groups[branch.x].append(branch)
    for group in groups.values():
        there = [branch for branch in group if branch.v in feeds]
        columns = sum(feeds[branch.v].shape[2] for branch in there)
        at = 0
        for branch in there:
            u = feeds[branch.u]
            shared[branch.u] = np.zeros((1, columns, u.shape[2]), u.dtype)
            shared[branch.u][:, at : at + u.shape[1]] = u
            at += u.shape[1]
        if there:
            shared[group[0].v] = np.concatenate([feeds[branch.v] for branch in there], axis=2)
            for branch in group:
                if branch not in there:
                    shared[branch.u] = np.zeros((1, columns, branch.n), np.float32)
    return shared


def _save(model: onnx.ModelProto, folder: Path, name: str) -> None:
    onnx.save_model(model, str(folder / f"{name}.onnx"))


def _session(file: Path, threads: int, profile: str | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


class Race:
    """The graphs that run against each other, and what each is fed."""

    def __init__(self, folder: Path, bundle: Path, tokens: int) -> None:
        """Writes the forms into `folder`, which has a package of fp32 factors."""
        manifest = read_manifest(folder)
        self.folder = folder
        self.inputs = graph_inputs(manifest, token_ids(folder, 1, tokens))
        feeds = factor_feeds("task", read_bundle_file(bundle), manifest)
        names = [Path(MODEL).stem, *write_forms(folder)]
        self.feeds = dict.fromkeys(names, feeds) | {"shared": shared_feeds(folder, feeds)}

    def opening(self, threads: int, seconds: float) -> dict[str, tuple[float, float]]:
        """Wall and processor time of fast runs, in ms, of each graph with and without a task."""
        ways: list[tuple[str, ort.InferenceSession, GraphFeeds]] = []
        plain = [Path(PLAIN_MODEL).stem] * 2
        for name in random.sample(order := [*plain, *self.feeds], len(order)):
            session = _session(self.folder / f"{name}.onnx", threads)
            takes = {entry.name for entry in session.get_overridable_initializers()}
            asked = {entry.name for entry in session.get_inputs()}
            tokens = {key: value for key, value in self.inputs.items() if key in asked}
            ways.append((name if name in plain else f"{name}, no task", session, tokens))
            if name in self.feeds:
                task = {k: v for k, v in self.feeds[name].items() if k in takes}
                ways.append((f"{name}, a task", session, tokens | task))
        samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            random.shuffle(ways)
            for way, session, given in ways:
                session.run(None, given)
                wall, cpu = time.perf_counter(), time.process_time()
                session.run(None, given)
                samples[way].append((time.perf_counter() - wall, time.process_time() - cpu))
        return {
            way: (_fast([w for w, _ in taken]), _fast([c for _, c in taken]))
            for way, taken in samples.items()
        }

    def profile(self, name: str, threads: int, runs: int = 50) -> dict[str, float]:
        """Milliseconds of a run by operator, with a task; those of a branch are named for it."""
        session = _session(self.folder / f"{name}.onnx", threads, str(self.folder / "profile"))
        takes = {entry.name for entry in session.get_overridable_initializers()}
        feeds = {k: v for k, v in self.feeds.get(name, {}).items() if k in takes}
        for _ in range(runs):
            session.run(None, {**self.inputs, **feeds})
        events = json.loads(Path(session.end_profiling()).read_text())
        nodes: dict[tuple[str, str], list[int]] = defaultdict(list)
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                node, operator = (
                    event["name"].removesuffix("_kernel_time"),
                    event["args"]["op_name"],
                )
                part = node.rpartition("/")[2]
                known = part in ("low", "delta", "sum", "rows")
                nodes[node, f"{operator} ({part})" if known else operator].append(event["dur"])
        spent: dict[str, float] = defaultdict(float)
        for (_, kind), durations in nodes.items():
            spent[kind] += float(np.quantile(durations, 0.25)) / 1000
        return dict(sorted(spent.items(), key=lambda item: -item[1]))


def _fast(samples: list[float]) -> float:
    return 1000 * float(np.quantile(samples, _FAST))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--openings", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5, help="of one opening")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "package"
        shutil.copytree(options.base, folder)
        race = Race(folder, options.bundle, options.tokens)
        plain = Path(PLAIN_MODEL).stem
        ratios: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for _ in range(options.openings):
            taken = race.opening(options.threads, options.seconds)
            for way, (wall, cpu) in taken.items():
                ratios[way].append((wall / taken[plain][0], cpu / taken[plain][1]))
        print(f"plain {taken[plain][0]:.2f} ms, {options.threads} threads")
        for way in sorted(ratios):
            wall, cpu = np.array(ratios[way]).T
            spread = f"({cpu.min():.3f}-{cpu.max():.3f})"
            print(f"{way:20} wall {np.median(wall):.3f}  cpu {np.median(cpu):.3f} {spread}")
        for name in (plain, *race.feeds):
            spent = list(race.profile(name, options.threads).items())[:9]
            print(f"{name}: " + ", ".join(f"{kind} {ms:.2f}" for kind, ms in spent))


if __name__ == "__main__":
    main()
