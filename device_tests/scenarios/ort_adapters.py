"""The factors of a bundle as a LoraAdapter file: onnxruntime's own way to swap tasks."""

from pathlib import Path
from typing import Any

import onnxruntime as ort

from osd_edge.errors import Code, DeviceError
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.package.feeds import factor_feeds
from osd_edge.formats.package.manifest import BaseManifest


def check_adapters() -> None:
    """Refuses (`device.no-adapter`) an onnxruntime without adapters."""
    if not hasattr(ort, "LoraAdapter") or not hasattr(ort, "AdapterFormat"):
        raise DeviceError(
            Code.DEVICE_NO_ADAPTER, f"onnxruntime {ort.__version__} has no LoraAdapter: 1.20 has"
        )


def feeds_of(bundle: Path, manifest: BaseManifest) -> dict[str, Any]:
    """Decodes the factors of the file `bundle` into the graph's inputs, by name.

    Raises TaskError `task.range` where a package takes fp16 factors and the task's are too large.
    """
    task = read_bundle_file(bundle)
    return factor_feeds(task.task, task, manifest)


def write_adapter(bundle: Path, manifest: BaseManifest, to: Path) -> Path:
    """Writes the factors to the adapter file `to`, in the type that the graph's inputs take.

    The head is left out: an adapter holds factors alone.
    """
    arrays = feeds_of(bundle, manifest)  # kept until written: onnxruntime does not copy them
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters(values)
    adapter.export_adapter(str(to))
    return to


def load_adapter(path: Path) -> Any:
    """Loads the adapter in a file, its factors mapped from there.

    It must outlive every RunOptions that names it: else onnxruntime, without a word, gives the
    base's answers.
    """
    adapter = ort.LoraAdapter()
    adapter.Load(str(path))
    return adapter


def options_with(adapter: Any) -> Any:
    """Makes RunOptions with which `adapter` is the active one of a run."""
    options = ort.RunOptions()
    options.add_active_adapter(adapter)
    return options
