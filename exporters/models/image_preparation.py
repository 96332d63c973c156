"""The preparation of a model's pictures, from the `preprocessor_config.json` beside its weights.

The keys are those of transformers' image processors: `size` is resized to, then the middle of
`crop_size` is cut out, then values are scaled and normalised. A device takes pictures of the
model's own size, so resizing and cutting are only for pictures to calibrate with.
"""

import json
import reprlib
from dataclasses import dataclass
from typing import Any, NoReturn

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.formats.package.manifest import ImageSettings

_FILE = "preprocessor_config.json"
_BILINEAR = 2  # Pillow's codes of filters are 0 to 5; this one is ViT's own
_LEAST, _MOST = 1e-6, 1e5  # of a scale or deviation: far beyond, float32 comes to 0 or infinity


@dataclass(frozen=True)
class Preparation:
    """The steps by which pictures of any size become those that the model takes.

    They are resized to `resize`, height and width, by Pillow's filter `resample`, and the middle
    of that is taken. None: they must have the model's size.
    """

    settings: ImageSettings
    resize: tuple[int, int] | None
    resample: int


def image_settings(base: Checkpoint) -> ImageSettings | None:
    """The settings that a device must know; None where the model came without them."""
    found = preparation(base)
    return None if found is None else found.settings


def preparation(base: Checkpoint) -> Preparation | None:
    """The settings of the model `base`; None where it came without them.

    Raises ModelError `model.images` where they are malformed, or ask for what is not done here.
    """
    path = base.folder / _FILE
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(Code.MODEL_IMAGES, f"cannot read {path}: {shown(str(error))}") from error
    if not isinstance(fields, dict):
        raise ModelError(Code.MODEL_IMAGES, f"{path} is malformed: expected an object")
    given = _Fields(str(path), {key: x for key, x in fields.items() if x is not None})
    expected = given.pair(base.config.image_size, "image_size of the model")
    channels = int(base.config.num_channels)
    plain = not given.flag("do_normalize", True)
    settings = ImageSettings(
        *expected,
        channels,
        given.number("rescale_factor", 1 / 255, _LEAST) if given.flag("do_rescale", True) else 1.0,
        (0.0,) * channels if plain else given.numbers("image_mean", channels, -_MOST),
        (1.0,) * channels if plain else given.numbers("image_std", channels, _LEAST),
    )
    return Preparation(settings, given.resized(expected), given.resample())


@dataclass(frozen=True)
class _Fields:
    """The fields of a file, checked when they are asked for."""

    path: str
    values: dict[str, Any]

    def resized(self, expected: tuple[int, int]) -> tuple[int, int] | None:
        """The size to resize pictures to, from which the model's size `expected` can be cut."""
        crop = self.flag("do_center_crop", False)
        if crop and self.pair(self.values.get("crop_size"), "crop_size") != expected:
            self._refuse("crop_size", f"the model's {_by(expected)}")
        if not self.flag("do_resize", True):
            return None
        size = self.pair(self.values.get("size", list(expected)), "size")
        if size == expected:
            return size
        if not crop:
            self._refuse("size", f"the model's {_by(expected)}")
        if not all(have >= need for have, need in zip(size, expected, strict=True)):
            self._refuse("size", f"at least the crop_size, {_by(expected)}")
        return size

    def resample(self) -> int:
        """Pillow's code of a filter."""
        code = self.values.get("resample", _BILINEAR)
        if type(code) is not int or not 0 <= code <= 5:
            self._refuse("resample", "a filter's number, 0 to 5")
        return code

    def flag(self, name: str, usual: bool) -> bool:
        """True or false."""
        value = self.values.get(name, usual)
        if type(value) is not bool:
            self._refuse(name, "true or false")
        return value

    def number(self, name: str, usual: float, least: float) -> float:
        """A number in range."""
        value = self.values.get(name, usual)
        if not _in_range(value, least):
            self._refuse(name, f"a number from {least:g} to {_MOST:g}")
        return float(value)

    def numbers(self, name: str, count: int, least: float) -> tuple[float, ...]:
        """A number in range for each channel, or one for all."""
        value = self.values.get(name)
        each = value if isinstance(value, list) else [value] * count
        if len(each) != count or not all(_in_range(x, least) for x in each):
            self._refuse(name, f"a number from {least:g} to {_MOST:g} for each of {count} channels")
        return tuple(map(float, each))

    def pair(self, value: object, name: str) -> tuple[int, int]:
        """Height and width, from one number for both, a list or an object of two."""
        each: list[Any] = [value, value]
        if isinstance(value, dict) and set(value) == {"height", "width"}:
            each = [value["height"], value["width"]]
        elif isinstance(value, (list, tuple)):
            each = list(value)
        if len(each) != 2 or not all(type(x) is int and 0 < x <= 1 << 16 for x in each):
            # shortest_edge too: where pictures are not square, it gives no size of its own.
            expected = "a height and a width in pixels"
            raise ModelError(
                Code.MODEL_IMAGES,
                f"{self.path}: {name}: expected {expected}, found {_shown(value)}",
            )
        return each[0], each[1]

    def _refuse(self, name: str, expected: str) -> NoReturn:
        found = _shown(self.values[name]) if name in self.values else "none"
        raise ModelError(
            Code.MODEL_IMAGES, f"{self.path}: {name}: expected {expected}, found {found}"
        )


def _in_range(value: object, least: float) -> bool:
    # Compared as they are: an integer may be too large for a float, and NaN is in no range.
    return type(value) in (int, float) and least <= value <= _MOST  # type: ignore[operator]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} by {size[1]}"


def _shown(value: object) -> str:
    return shown(reprlib.repr(value), 60)  # which is short for what is deeply nested too
