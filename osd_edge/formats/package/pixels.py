"""Turns pictures into the pixel values that a base takes: one formula for both sides."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.package.manifest import ImageSettings


def pixel_values(images: NDArray[Any], settings: ImageSettings) -> NDArray[np.float32]:
    """Turns pictures `[batch, height, width, channels]`, 0 to 255, into pixel values.

    They are `[batch, channels, height, width]`: (value · scale − mean) / std, by channel.
    """
    scaled = images.astype(np.float32) * np.float32(settings.scale)
    mean, std = (np.array(x, np.float32) for x in (settings.mean, settings.std))
    pixels: NDArray[np.float32] = np.ascontiguousarray(
        ((scaled - mean) / std).transpose(0, 3, 1, 2)
    )
    return pixels
