"""Today's way in onnxruntime itself: the same factors as LoraAdapter files, over the same graph."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from osd_edge.base_manifest import BaseManifest, read_manifest
from osd_edge.bundle_reader import read_bundle_file
from osd_edge.device_tests.growth import put_growth
from osd_edge.device_tests.job import Job, Sheet
from osd_edge.device_tests.opened import (
    WARM_UP_RUNS,
    folder_bytes,
    inputs_of,
    open_branched,
    plain_run,
    run_names,
    task_files,
)
from osd_edge.device_tests.rounds import Variant, measure_rounds, put_latency
from osd_edge.device_tests.samples import spread_of, time_ms
from osd_edge.device_tests.scratch import scratch_folder
from osd_edge.errors import InputError
from osd_edge.runtime.task import decode_task

_LOADS = 20
_SWAPS = 400


def run(job: Job, sheet: Sheet) -> None:
    """Adapter files are written first; the heads, which adapters have no place for, are left out.

    The files are fp32, since that is what the graph's inputs take.
    """
    if not hasattr(ort, "LoraAdapter") or not hasattr(ort, "AdapterFormat"):
        raise InputError(
            "device.no-adapter", f"onnxruntime {ort.__version__} has no LoraAdapter: 1.20 has"
        )
    base = Path(job.base)
    manifest = read_manifest(base)
    with scratch_folder(job.scratch) as folder:
        files = _write_adapters(job, manifest, folder)
        session = open_branched(base, job.threads)
        inputs = inputs_of(job, manifest)
        names = run_names(manifest)
        for _ in range(WARM_UP_RUNS):
            session.run(names, inputs)
        # Adapters must outlive the options that name them: else onnxruntime, without a word,
        # gives the base's answers.
        adapters: list[Any] = []

        def grow(i: int) -> None:
            adapters.append(_load(files[i]))
            session.run(names, inputs, _options(adapters[-1]))

        put_growth(sheet, len(files), grow)
        sizes = [path.stat().st_size for path in files]
        sheet.put("disk_bytes", folder_bytes(base) + sum(sizes))
        sheet.put("file_bytes", sizes[0])

        feeds = _feeds(task_files(job)[0][1], manifest)
        options = _options(adapters[0])
        by_feed = session.run(names, inputs | feeds)[0]
        difference = float(np.abs(session.run(names, inputs, options)[0] - by_feed).max())
        sheet.check(
            "same-as-fed", difference < 1e-4, f"adapter and fed factors: apart by {difference:.1e}"
        )
        if not job.timed:
            return
        loads = [time_ms(partial(_load, files[0])) for _ in range(_LOADS)]
        swaps = [time_ms(partial(_options, adapters[i % len(adapters)])) for i in range(_SWAPS)]
        sheet.put("load_ms", spread_of(loads))
        sheet.put("warm_ms", spread_of(swaps))
        variants = [
            Variant("base", partial(session.run, names, inputs)),
            Variant("fed", partial(session.run, names, inputs | feeds)),
            Variant("adapter", partial(session.run, names, inputs, options)),
        ]
        plain = plain_run(base, manifest, inputs, job.threads)
        if plain is not None:
            variants.append(Variant("plain", plain))
        taken = measure_rounds(variants, runs=job.runs, seconds=job.seconds)
        put_latency(sheet, taken["adapter"], plain=taken.get("plain"), base=taken["base"])


def _feeds(path: Path, manifest: BaseManifest) -> dict[str, Any]:
    return dict(decode_task("task", read_bundle_file(path), manifest).feeds)


def _write_adapters(job: Job, manifest: BaseManifest, folder: Path) -> list[Path]:
    written = []
    for i, (_, path) in enumerate(task_files(job)):
        # Kept until the file is written: onnxruntime does not copy what it is given.
        arrays = _feeds(path, manifest)
        values = {name: ort.OrtValue.ortvalue_from_numpy(a) for name, a in arrays.items()}
        adapter = ort.AdapterFormat()
        adapter.set_adapter_version(1)
        adapter.set_model_version(1)
        adapter.set_parameters(values)
        written.append(folder / f"{i}.onnx_adapter")
        adapter.export_adapter(str(written[-1]))
    return written


def _load(path: Path) -> Any:
    adapter = ort.LoraAdapter()
    adapter.Load(str(path))
    return adapter


def _options(adapter: Any) -> Any:
    options = ort.RunOptions()
    options.add_active_adapter(adapter)
    return options
