"""Files of the repository that mutants are made of."""

import json
from pathlib import Path

PROJECT = Path(__file__).parents[2]
VECTORS = PROJECT / "vectors" / "v1"
RELEASES = PROJECT / "tests" / "compatibility" / "files"
CORPUS = PROJECT / "fuzz" / "corpus"


def bundles() -> list[bytes]:
    """Reads the vectors, valid and invalid, and the files of releases."""
    cases = json.loads((VECTORS / "index.json").read_text("utf-8"))["cases"]
    paths = [VECTORS / case["file"] for case in cases]
    paths += sorted(RELEASES.glob("*/*.osd.safetensors"))
    return [path.read_bytes() for path in paths]


def base_manifest() -> str:
    """Reads the manifest of the base that the vectors are compared with."""
    return (VECTORS / "base" / "manifest.json").read_text("utf-8")


def packages() -> list[Path]:
    """Lists the base packages of releases."""
    return sorted(path.parent for path in RELEASES.glob("*/*/manifest.json"))


def kept(name: str) -> list[bytes]:
    """Reads the kept corpus of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*")) if path.is_file()]
