"""The manifest of a base package: the facts that a device needs of the base.

A base package is a folder with `manifest.json`, `model.onnx`, `model.onnx.data` and, for text,
`tokenizer.json`. `docs/base-package.md` describes every field.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from osd_edge.formats.package.generation import Generation
from osd_edge.formats.package.sites import Branch, Site, branches_of
from osd_edge.formats.package.vectors import Vector, VectorInput, vector_inputs

MANIFEST = "manifest.json"
MODEL = "model.onnx"
PLAIN_MODEL = (
    "plain.onnx"  # the graph without branches, over the same weights: what to measure against
)
WEIGHTS = "model.onnx.data"
TOKENIZER = "tokenizer.json"
FORMAT_VERSION = 1
GENERATION_VERSION = 2  # of a package of a decoder, which earlier releases do not read
VECTORS_VERSION = 3  # of a package that takes changes of vectors, likewise
PADDINGS = ("any", "right")  # where a row may have padding
TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PIXELS = "pixel_values"  # the one input of a base that takes pictures
FACTOR_TYPES = ("fp32", "fp16")  # in which a package's graph takes factors


@dataclass(frozen=True)
class TextSettings:
    """The settings of a tokenizer.

    Attributes:
        max_length: The longest sequence, in tokens.
        pad_id: The padding token's id.

    >>> from osd_edge import TextSettings
    >>> TextSettings(max_length=512, pad_id=0).max_length
    512
    """

    max_length: int
    pad_id: int


@dataclass(frozen=True)
class ImageSettings:
    """The settings of pictures: a pixel value is (value · `scale` − `mean`) / `std`, by channel.

    Attributes:
        height: Rows of pixels.
        width: Pixels of a row.
        channels: 3 for colours, 1 for grey.
        scale: What a picture's values, 0 to 255, are multiplied with.
        mean: By channel, what is taken off.
        std: By channel, what the rest is divided by.

    >>> from osd_edge import ImageSettings
    >>> ImageSettings(224, 224, 3, 1 / 255, (0.5,) * 3, (0.5,) * 3).channels
    3
    """

    height: int
    width: int
    channels: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class BaseManifest:
    """The facts of a base package, as its `manifest.json` states them.

    Attributes:
        family: The model's family, such as `bert`.
        fingerprint: Digest of the original weights, 64 hex digits, which bundles name.
        hidden_size: Features of each hidden state.
        inputs: Names of the graph's inputs other than factors: tokens, or `pixel_values`.
        hidden_output: Name of the output with hidden states `[batch, tokens, hidden]`.
        pooler_output: Name of the output with the pooler's states `[batch, hidden]`, or None.
        sites: The backbone's linear layers, in the order that bundles count them.
        files: Each file of the package with its `bytes` and `sha256`.
        text: How text becomes tokens, None for a base without a tokenizer.
        image: How a picture becomes pixel values, None for a base of text.
        made: How the package was made, for people.
        factors: Type in which the graph takes factors: `fp32` or `fp16`.
        mixed_rows: Whether the rows of one pass may be of several tasks.
        padding: Where a row of tokens may have padding: `any`, or `right`, behind its tokens alone.
        generation: The facts of a base that writes text, None for one that does not.
        vectors: The base's biases and norms' weights, in the order that bundles count them; empty
            where this package takes no changes of them.

    >>> from pathlib import Path
    >>> from osd_edge import read_manifest
    >>> manifest = read_manifest(Path("base"))
    >>> manifest.family, manifest.hidden_size, len(manifest.sites), manifest.factors
    ('bert', 32, 13, 'fp32')
    >>> site = manifest.sites[0]
    >>> site.name, site.n, site.d
    ('encoder.layer.0.attention.self.query', 32, 32)
    """

    family: str
    fingerprint: str
    hidden_size: int
    inputs: tuple[str, ...]
    hidden_output: str
    pooler_output: str | None
    sites: tuple[Site, ...]
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    text: TextSettings | None = None
    image: ImageSettings | None = None
    made: Mapping[str, Any] = field(default_factory=dict)
    factors: str = "fp32"
    mixed_rows: bool = True
    padding: str = "any"
    generation: Generation | None = None
    vectors: tuple[Vector, ...] = ()

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The delta branches of the graph, each with the sites that it serves."""
        return branches_of(self.sites)

    @property
    def vector_inputs(self) -> tuple[VectorInput, ...]:
        """The graph inputs that change vectors, each with the vectors that it serves."""
        return vector_inputs(self.vectors)

    @property
    def version(self) -> int:
        """The lowest version of the format that describes the package."""
        if self.vectors:
            return VECTORS_VERSION
        packed = any(len(branch.sites) > 1 for branch in self.branches)
        newer = packed or self.generation is not None or self.padding != PADDINGS[0]
        return GENERATION_VERSION if newer else FORMAT_VERSION

    def as_dict(self) -> dict[str, Any]:
        """Gives the manifest as plain data.

        Returns:
            The fields by name, as `manifest.json` has them.

        Example:
            >>> from osd_edge import read_manifest
            >>> read_manifest("base").as_dict()["family"]
            'bert'
        """
        fields = {"format": self.version} | asdict(self)
        if self.version == FORMAT_VERSION:
            del fields["padding"], fields["generation"]
        if not self.vectors:
            del fields["vectors"]
        return fields

    def to_json(self) -> str:
        """Gives the text of `manifest.json`."""
        return json.dumps(self.as_dict(), indent=1) + "\n"
