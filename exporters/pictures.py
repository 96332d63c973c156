"""Pictures to calibrate with: a folder of them, read when they are used."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from osd_edge.base_manifest import PIXELS, ImageSettings
from osd_edge.errors import DataError
from osd_edge.examples import Example
from osd_edge.pixels import pixel_values

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


def read_pictures(folder: Path) -> tuple[Example, ...]:
    """The pictures below `folder`, by path; those in a subfolder have its name as their label.

    Either all are in subfolders, one for each label, or none is, and there are no labels. Raises
    DataError `data.empty`, `data.unlabelled`.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    if not files:
        raise DataError(
            "data.empty", f"{folder} holds no pictures: expected {', '.join(ENDINGS)} files"
        )
    names = [file.relative_to(folder) for file in files]
    labels = [name.parts[0] if len(name.parts) > 1 else None for name in names]
    if None in labels and any(labels):
        raise DataError(
            "data.unlabelled",
            f"{folder} holds pictures ({names[labels.index(None)]}) beside folders of pictures: "
            "expected a folder for each label, or pictures alone",
        )
    return tuple(
        Example(str(name), label, picture=file)
        for name, label, file in zip(names, labels, files, strict=True)
    )


class Pixels(Mapping[str, torch.Tensor]):
    """The inputs of a batch of pictures, which are read whenever they are asked for.

    A thousand of the usual size are half a gigabyte as pixel values.
    """

    def __init__(self, files: Sequence[Path], settings: ImageSettings) -> None:
        """Nothing is read yet."""
        self._files, self._settings = files, settings

    def __getitem__(self, name: str) -> torch.Tensor:
        """`[rows, channels, height, width]`. Raises DataError `data.picture`."""
        if name != PIXELS:
            raise KeyError(name)
        images = np.stack([_image(file, self._settings) for file in self._files])
        return torch.from_numpy(pixel_values(images, self._settings))

    def __iter__(self) -> Iterator[str]:
        """The name of the only input."""
        return iter((PIXELS,))

    def __len__(self) -> int:
        """One input."""
        return 1


def _image(file: Path, settings: ImageSettings) -> NDArray[np.uint8]:
    """A picture at the size that the base takes, `[height, width, channels]`."""
    from PIL import Image

    try:
        with Image.open(file) as opened:
            picture = opened.convert("L" if settings.channels == 1 else "RGB")
        picture = picture.resize((settings.width, settings.height), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError("data.picture", f"cannot read the picture {file}: {error}") from error
    image: NDArray[np.uint8] = np.asarray(picture, np.uint8)
    return image[..., None] if image.ndim == 2 else image
