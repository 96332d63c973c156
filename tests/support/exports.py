"""Exports of the tiny models for tests that compare what comes out, byte for byte."""

from pathlib import Path
from typing import Any

from osd_edge.exporters import export_task


def export_bytes(models: Path, folder: Path, **options: Any) -> bytes:
    out = folder / "t.osd.safetensors"
    options = {"budget": "4KiB", "name": "t", "refine": "none"} | options
    export_task(models / "base", models / "first", out, **options)
    return out.read_bytes()
