"""How a model's pictures are prepared, from the `preprocessor_config.json` beside its weights."""

import json
from typing import Any

from osd_edge.base_manifest import ImageSettings
from osd_edge.errors import ModelError
from osd_edge.exporters.checkpoint import Checkpoint

_FILE = "preprocessor_config.json"


def image_settings(base: Checkpoint) -> ImageSettings | None:
    """The settings of the model `base`; None where it came without them.

    Raises ModelError `model.images` where they are malformed.
    """
    path = base.folder / _FILE
    if not path.is_file():
        return None
    try:
        fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
        size = fields.get("size", base.config.image_size)
        height = size["height"] if isinstance(size, dict) else size
        width = size["width"] if isinstance(size, dict) else size
        channels = int(base.config.num_channels)
        scale = fields.get("rescale_factor", 1 / 255) if fields.get("do_rescale", True) else 1.0
        plain = not fields.get("do_normalize", True)
        mean = [0.0] * channels if plain else fields["image_mean"]
        std = [1.0] * channels if plain else fields["image_std"]
        settings = ImageSettings(
            int(height),
            int(width),
            channels,
            float(scale),
            tuple(map(float, mean)),
            tuple(map(float, std)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("model.images", f"{path} is malformed: {error!r}") from error
    if len(settings.mean) != channels or len(settings.std) != channels or 0 in settings.std:
        raise ModelError("model.images", f"{path}: expected a mean and std for each channel")
    return settings
