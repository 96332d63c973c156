"""Pictures to calibrate with: a folder of them, read when they are used."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from osd_edge.data.examples import Example
from osd_edge.errors import Code, DataError
from osd_edge.exporters.models.image_preparation import Preparation
from osd_edge.formats.package.manifest import PIXELS
from osd_edge.formats.package.pixels import pixel_values

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


def read_pictures(folder: Path) -> tuple[Example, ...]:
    """The pictures below `folder`, by path; those in a subfolder have its name as their label.

    Either all are in subfolders, one for each label, or none is, and there are no labels. What is
    hidden, by a dot before its name, is left out: thumbnails, macOS's notes on files. Raises
    DataError `data.missing`, `data.empty`, `data.unlabelled`.
    """
    try:
        files = sorted(_found(folder))
    except OSError as error:
        raise DataError(
            Code.DATA_MISSING, f"cannot read {error.filename}: {error.strerror}"
        ) from error
    if not files:
        raise DataError(
            Code.DATA_EMPTY, f"{folder} holds no pictures: expected {', '.join(ENDINGS)} files"
        )
    names = [file.relative_to(folder) for file in files]
    labels = [name.parts[0] if len(name.parts) > 1 else None for name in names]
    if None in labels and any(labels):
        raise DataError(
            Code.DATA_UNLABELLED,
            f"{folder} holds pictures ({names[labels.index(None)]}) beside folders of pictures: "
            "expected a folder for each label, or pictures alone",
        )
    return tuple(
        Example(str(name), label, picture=file)
        for name, label, file in zip(names, labels, files, strict=True)
    )


def _found(folder: Path) -> Iterator[Path]:
    """Files of pictures below `folder`; raises OSError where one of its folders is closed."""

    def fail(error: OSError) -> NoReturn:
        raise error

    for inside, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]  # not gone into
        for file in (Path(inside, name) for name in names if not name.startswith(".")):
            if file.suffix.lower() in ENDINGS and file.is_file():
                yield file


class Pixels(Mapping[str, torch.Tensor]):
    """The inputs of a batch of pictures, which are read whenever they are asked for.

    A thousand of the usual size are half a gigabyte as pixel values.
    """

    def __init__(self, files: Sequence[str | Path], preparation: Preparation) -> None:
        """Nothing is read yet."""
        self._files, self._preparation = files, preparation

    def __getitem__(self, name: str) -> torch.Tensor:
        """`[rows, channels, height, width]`. Raises DataError `data.picture`."""
        if name != PIXELS:
            raise KeyError(name)
        images = np.stack([_image(file, self._preparation) for file in self._files])
        return torch.from_numpy(pixel_values(images, self._preparation.settings))

    def __iter__(self) -> Iterator[str]:
        """The name of the only input."""
        return iter((PIXELS,))

    def __len__(self) -> int:
        """One input."""
        return 1


def _image(file: str | Path, preparation: Preparation) -> NDArray[np.uint8]:
    """A picture at the size that the base takes, `[height, width, channels]`."""
    from PIL import Image

    settings = preparation.settings
    try:
        # Pillow's warning of large pictures is for servers; what it refuses is refused below.
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(file) as opened,
        ):
            picture = opened.convert("L" if settings.channels == 1 else "RGB")
        if preparation.resize is not None:
            height, width = preparation.resize
            picture = picture.resize((width, height), Image.Resampling(preparation.resample))
            left, top = (width - settings.width) // 2, (height - settings.height) // 2
            picture = picture.crop((left, top, left + settings.width, top + settings.height))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(Code.DATA_PICTURE, f"cannot read the picture {file}: {error}") from error
    if picture.size != (settings.width, settings.height):
        raise DataError(
            Code.DATA_PICTURE,
            f"{file} is {picture.width} by {picture.height} pixels: this model's pictures are not "
            f"resized (do_resize), expected {settings.width} by {settings.height}",
        )
    image: NDArray[np.uint8] = np.asarray(picture, np.uint8)
    return image[..., None] if image.ndim == 2 else image
