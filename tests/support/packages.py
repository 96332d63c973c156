"""Base packages to damage: the small one that comes with the measurements, and copies of any."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osd_edge.device_tests.conformance import checks

SMALL = Path(checks.__file__).parents[1] / "data" / "small-bert"


def copied(package: Path, to: Path) -> Path:
    """Copies a package, each file of its own, and without the bundles beside it."""
    return shutil.copytree(package, to, ignore=shutil.ignore_patterns("*.safetensors"))


def listed_anew(package: Path) -> None:
    """Lists the package's files in its manifest as they are now: damage that no digest tells."""
    path = package / "manifest.json"
    fields = json.loads(path.read_text())
    for name in fields["files"]:
        data = (package / name).read_bytes()
        fields["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(fields))


def change_graph(package: Path, change: Callable[[Any], object], name: str = "model.onnx") -> None:
    """Changes a graph of the package as `change` changes its ModelProto, and lists it anew."""
    import onnx

    path = package / name
    model = onnx.load(str(path), load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    listed_anew(package)
