"""Checks that this device computes what was recorded, from files inside this package.

The vectors of the bundle format: valid files decode to the same bits as everywhere, heads give
their logits, invalid files are refused with their codes. A small model: bundles decode to the
recorded bits, and answers are the recorded ones within a tolerance, since processors add up in
different orders. A small decoder: the tokens that it writes, with a task and without.
"""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from osd_edge.device_tests.conformance.cases import ConformanceCase, Differs, close, same
from osd_edge.device_tests.conformance.hashes import decoded_sha256
from osd_edge.device_tests.conformance.writing import writing_cases
from osd_edge.device_tests.data import DECODER_FOLDER, EXPECTED, MODEL_FOLDER, VECTORS
from osd_edge.device_tests.report.schema import Conformance, Failure
from osd_edge.errors import BundleError, OsdEdgeError, shown
from osd_edge.formats.bundle.reader import read_bundle, read_bundle_file
from osd_edge.formats.heads import apply_head
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.graph_check import check_graphs
from osd_edge.formats.package.manifest import PLAIN_MODEL, BaseManifest
from osd_edge.formats.package.manifest_reader import check_digests, parse_manifest
from osd_edge.runtime import EdgeSession
from osd_edge.runtime.graph import open_graph

_Entry = dict[str, Any]


def run_conformance(
    vectors: Path = VECTORS, model: Path = MODEL_FOLDER, decoder: Path = DECODER_FOLDER
) -> Conformance:
    """Tries every case and reports those that failed; none of them raises."""
    cases = [*_vector_cases(vectors), *_model_cases(model), *writing_cases(decoder)]
    failures: list[Failure] = []
    for name, expected, check in cases:
        try:
            check()
        except Differs as found:
            failures.append(
                {"id": name, "expected": shown(found.expected), "found": shown(found.found)}
            )
        except Exception as error:  # whatever it is, it is this case's failure
            code = error.code if isinstance(error, OsdEdgeError) else type(error).__name__
            found_text = shown(f"{code}: {error}", 200)
            failures.append({"id": name, "expected": expected, "found": found_text})
    status = "failed" if failures else "passed"
    return {"status": status, "cases": len(cases), "failures": failures}  # type: ignore[typeddict-item]


def _vector_cases(archive: Path) -> list[ConformanceCase]:
    files = read_archive(archive)
    index = json.loads(files["index.json"])
    manifest = parse_manifest(files[index["base"]].decode())
    cases: list[ConformanceCase] = []

    def add(case: _Entry) -> None:
        data = files[case["file"]]
        if case["result"] == "valid":
            cases.append((case["id"], "a file that is read", lambda: _check_valid(case, data)))
            if "run" in case:
                tolerance = float(index["tolerance"])
                name = f"{case['id']}/logits"
                cases.append((name, "logits", lambda: _check_logits(case, data, tolerance)))
        else:
            base = manifest if "against-base" in case["flags"] else None
            check = lambda: _check_invalid(case, data, base)  # noqa: E731
            cases.append((case["id"], f"a refusal with {case['code']}", check))

    for case in index["cases"]:
        add(case)
    return cases


def read_archive(archive: Path) -> dict[str, bytes]:
    """Reads the archive's files into memory, by name: a device may have no place to write."""
    files = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                files[member.name] = file.read()
    return files


def _check_valid(case: _Entry, data: bytes) -> None:
    bundle, expected = read_bundle(data), case["expected"]
    facts = {
        "task": bundle.task,
        "task_version": bundle.task_version,
        "base": bundle.base,
        "site_count": bundle.site_count,
        "values": bundle.values,
        "labels": list(bundle.labels),
    }
    same({name: expected[name] for name in facts}, facts)
    sites = []
    for site in bundle.decoded().sites:
        u, v = site.decode()
        numbers = {"site": site.site, "n": site.n, "d": site.d, "k": site.k}
        sites.append(numbers | {"u": _sha256(u), "v": _sha256(v)})
    same(expected["sites"], sites)
    same(expected.get("sequence", 0), bundle.sequence)
    for part, found in (("text", bundle.text), ("probe", bundle.probe)):
        same(expected.get(part), None if found is None else found.described())
    vectors = [
        {"vector": each.vector, "n": each.codes.size, "values": _sha256(each.decode())}
        for each in bundle.vectors
    ]
    same(expected.get("vectors", []), vectors)
    head = bundle.head.decode()
    for layer, described in zip(head.layers, expected["head"]["layers"], strict=True):
        for part in ("weight", "u", "v", "bias"):
            array = getattr(layer, part)
            same(described.get(part), None if array is None else _sha256(array))


def _check_logits(case: _Entry, data: bytes, tolerance: float) -> None:
    head, run = read_bundle(data).head.decode(), case["run"]
    pooled = None if run["pooled"] is None else np.array(run["pooled"], np.float32)
    found = apply_head(head, np.array(run["hidden"], np.float32), np.array(run["mask"]), pooled)
    expected = np.array(run["logits"])
    if (np.abs(found - expected) > tolerance * np.maximum(np.abs(expected), 1)).any():
        raise Differs(expected.tolist(), found.tolist())


def _check_invalid(case: _Entry, data: bytes, manifest: BaseManifest | None) -> None:
    try:
        bundle = read_bundle(data)
        if manifest is not None:
            check_fits(bundle, manifest)
    except BundleError as error:
        same(case["code"], error.code)
    else:
        raise Differs(f"a refusal with {case['code']}", "a file that is read")


def _model_cases(folder: Path) -> list[ConformanceCase]:
    recorded = json.loads((folder / EXPECTED.name).read_text("utf-8"))
    tolerance = float(recorded["tolerance"])
    inputs = {name: np.array(rows, np.int64) for name, rows in recorded["inputs"].items()}
    session = EdgeSession(folder, threads=1)
    cases: list[ConformanceCase] = [
        ("model/files", "their digests", lambda: check_digests(folder, session.manifest)),
        (
            "model/no-task",
            "the recorded hidden states",
            lambda: close(recorded["hidden"], session.run(inputs, None).hidden, tolerance),
        ),
        ("model/plain", "what no task gives", lambda: _check_plain(folder, session, inputs)),
    ]

    def add(entry: _Entry) -> None:
        path = folder / entry["file"]
        name = f"model/{entry['task']}"
        cases.append(
            (
                f"{name}/decode",
                entry["decoded_sha256"],
                lambda: same(entry["decoded_sha256"], decoded_sha256(read_bundle_file(path))),
            )
        )
        check = lambda: _check_task(session, path, inputs, entry, tolerance)  # noqa: E731
        cases.append((f"{name}/answers", "the recorded logits", check))

    for entry in recorded["bundles"]:
        add(entry)
    return cases


def _check_plain(folder: Path, session: EdgeSession, inputs: dict[str, Any]) -> None:
    check_graphs(folder, session.manifest)
    plain = open_graph(folder / PLAIN_MODEL, threads=1)
    names = [output.name for output in plain.get_outputs()]
    hidden = plain.run(names, inputs)[names.index(session.manifest.hidden_output)]
    close(hidden, session.run(inputs, None).hidden, 1e-5)


def _check_task(
    session: EdgeSession, path: Path, inputs: dict[str, Any], entry: _Entry, tolerance: float
) -> None:
    before = session.run(inputs, None).hidden
    name = session.load(path)
    try:
        session.activate(name)
        close(entry["logits"], session.run(inputs).logits, tolerance)
        session.deactivate()
        if not np.array_equal(session.run(inputs).hidden, before):
            raise Differs("the base's own hidden states after the task", "others")
    finally:
        session.unload(name)


def _sha256(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()
