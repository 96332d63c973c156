"""Codes are part of the interface: each one that the source gives stands in the documentation."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
KINDS = "bundle|base|model|data|budget|task|input|output|report|device"


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    given = set()
    for folder in ("osd_edge", "exporters", "runtime", "device_tests"):
        for path in (PROJECT / folder).rglob("*.py"):
            source = path.read_text("utf-8")
            given |= set(re.findall(rf'"((?:{KINDS})\.[a-z-]+)",?\n', source))
            given |= set(re.findall(rf'Error\(\s*"((?:{KINDS})\.[a-z-]+)"', source))
            given |= set(re.findall(rf'"code": "((?:{KINDS})\.[a-z-]+)"', source))
            given |= set(re.findall(rf'", "((?:{KINDS})\.[a-z-]+)", "', source))
            given |= set(re.findall(rf'code = "((?:{KINDS})\.[a-z-]+)" if', source))
            given |= set(re.findall(rf" \[((?:{KINDS})\.[a-z-]+)\]\"", source))
    given.discard("model.safetensors")  # a file's name
    documented = set()
    for name in (
        "errors.md",
        "bundle-format.md",
        "base-package.md",
        "bench-schema.md",
        "emulated-device.md",
    ):
        text = (PROJECT / "docs" / name).read_text("utf-8")
        rows = [line for line in text.splitlines() if line.startswith("| `")]
        for row in rows:
            documented |= set(re.findall(rf"`((?:{KINDS})\.[a-z-]+)`", row.split("|")[1]))
    assert given - documented == set()
    assert documented - given == set()
