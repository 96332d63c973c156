"""What a device has to install: held by an allow-list in a fresh process."""

import subprocess
import sys

import pytest

_THIRD_PARTY = """
import sys
before = set(sys.modules)
import {module}
import importlib.metadata
files = {{}}
for distribution in importlib.metadata.distributions():
    for name in (distribution.read_text("top_level.txt") or distribution.metadata["Name"]).split():
        files[name.replace("-", "_").lower()] = distribution.metadata["Name"].lower()
loaded = {{name.split(".")[0].lower() for name in set(sys.modules) - before}}
print(sorted({{files[name] for name in loaded if name in files}}))
"""


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("osd_edge", {"osd-edge"}),
        (
            "osd_edge.formats.bundle.reader, osd_edge.formats.package.manifest",
            {"osd-edge", "numpy"},
        ),
        ("osd_edge.serve.catalogue, osd_edge.serve.server", {"osd-edge", "numpy"}),
        ("osd_edge.runtime", {"osd-edge", "numpy", "onnxruntime"}),
        ("osd_edge.runtime.generation.scheduler", {"osd-edge", "numpy", "onnxruntime"}),
        (
            "osd_edge.runtime.api.server",
            {"osd-edge", "numpy", "onnxruntime", "uvicorn", "h11", "click"},
        ),
        ("osd_edge.device_tests", {"osd-edge", "numpy", "onnxruntime"}),
        ("osd_edge.cli.main", {"osd-edge", "click"}),
    ],
)
def test_only_allowed_packages_are_imported(module: str, allowed: set[str]) -> None:
    code = _THIRD_PARTY.format(module=module)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(eval(result.stdout))
    assert loaded <= allowed


def test_the_runtime_turns_telemetry_off_unless_told_otherwise() -> None:
    code = "import osd_edge.runtime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, expected in ((None, "1"), ("0", "0")):
        environment = {} if given is None else {"ORT_DISABLE_TELEMETRY": given}
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert result.stdout.strip() == expected
