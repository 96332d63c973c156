"""Checks that the base, the bundles and the inputs go together, and describes the machine."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from osd_edge.device_tests.conformance.hashes import decoded_sha256
from osd_edge.device_tests.gauges.machine import this_machine
from osd_edge.device_tests.job.inputs import graph_inputs
from osd_edge.device_tests.job.sessions import named_bundles, open_session
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.errors import shown
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.graph_check import check_graphs
from osd_edge.formats.package.manifest_reader import read_manifest
from osd_edge.runtime.task import decode_task


def run(job: Job, sheet: Sheet) -> dict[str, Any]:
    """Collects facts for the report; refuses what any scenario would refuse."""
    folder = Path(job.base)
    manifest = read_manifest(folder)
    check_graphs(folder, manifest)
    tasks = []
    for name, path in named_bundles(job.bundles):
        bundle = read_bundle_file(path)
        check_fits(bundle, manifest)
        tasks.append(
            {
                "task": name,
                "file": shown(path.name, 255),
                "file_bytes": path.stat().st_size,
                "decoded_sha256": decoded_sha256(bundle),
                "decoded_bytes": decode_task(name, bundle, manifest).nbytes,
            }
        )
    session = open_session(job)
    session.run(graph_inputs(manifest, [list(row) for row in job.ids]), task=None)
    return {
        "machine": asdict(this_machine()),
        "base": {
            "name": shown(folder.resolve().name, 255),
            "family": manifest.family,
            "fingerprint": manifest.fingerprint,
            "file_bytes": sum(int(entry["bytes"]) for entry in manifest.files.values()),
        },
        "tasks": tasks,
    }
