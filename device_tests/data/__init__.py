"""Files that a device is checked with: the vectors of the bundle format, two small models."""

from pathlib import Path

FOLDER = Path(__file__).parent
VECTORS = FOLDER / "vectors-v1.tar.gz"
MODEL_FOLDER = FOLDER / "small-bert"
EXPECTED = MODEL_FOLDER / "expected.json"
DECODER_FOLDER = FOLDER / "small-llama"
DECODER_EXPECTED = DECODER_FOLDER / "expected.json"
