"""Small models as releases of transformers save them, and what they answer.

`python -m tests.compatibility.saved_models` writes `models/<release>/` beside this file with the
transformers that is installed: `base` and `tuned` of every family, and `answers.safetensors` of
torch. The first release, FIRST, draws the weights; each other one loads that release's folders and
saves them again, so that all of them hold the same numbers.
"""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModel, AutoModelForImageClassification
from transformers import AutoModelForSequenceClassification as AutoClassifier

from tests.compatibility.answers import TEXTS
from tests.support import tiny

MODELS = Path(__file__).parent / "models"
FIRST = "4.57.6"
FAMILIES = tuple(tiny.FAMILIES)

# Half the widths of the models of other tests: these are kept in the repository.
_SMALL = {"hidden_size": 16, "intermediate_size": 24}
_SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_positions": 32},
    "distilbert": {"dim": 16, "hidden_dim": 24, "max_position_embeddings": 32},
    "opt": {"hidden_size": 16, "word_embed_proj_dim": 8, "ffn_dim": 24},
    "electra": _SMALL | {"embedding_size": 8},
    "albert": _SMALL | {"embedding_size": 8},
    "vit": {"hidden_size": 16, "intermediate_size": 24, "image_size": 8},
    # Not the defaults, which a reader would have right without reading them.
    "modernbert": _SMALL | {"global_rope_theta": 20000.0, "local_rope_theta": 500.0},
    "deberta-v2": _SMALL | {"pooler_hidden_size": 16},
}


def classifier(family: str) -> Any:
    """The class of the family's classifiers."""
    return AutoModelForImageClassification if family == "vit" else AutoClassifier


def main() -> None:
    """Write the models of the installed release."""
    out = MODELS / transformers.__version__
    for family in FAMILIES:
        base, tuned = out / family / "base", out / family / "tuned"
        task = classifier(family)
        if transformers.__version__ == FIRST:
            tiny.make_base(family, base, **_SIZES.get(family, _SMALL))
            tiny.make_tuned(base, tuned, task=task, linear_only=True, size=0.1)
        else:
            first = MODELS / FIRST / family
            for name, kind, folder in (("base", AutoModel, base), ("tuned", task, tuned)):
                kind.from_pretrained(first / name).save_pretrained(folder)
                if family != "vit":
                    transformers.AutoTokenizer.from_pretrained(first / name).save_pretrained(folder)
        with torch.inference_mode():
            inputs = example(family, base)
            hidden = AutoModel.from_pretrained(base).eval()(**inputs).last_hidden_state
            logits = task.from_pretrained(tuned).eval()(**inputs).logits
        answers = {"hidden": hidden.contiguous(), "logits": logits.contiguous()}
        save_file(inputs | answers, out / family / "answers.safetensors")


def example(family: str, base: Path) -> dict[str, torch.Tensor]:
    """Makes what the models are asked: two texts, or two pictures of noise."""
    if family == "vit":
        torch.manual_seed(2)
        return {"pixel_values": torch.randn(2, 3, 8, 8)}
    names = transformers.AutoConfig.from_pretrained(base).model_type
    types = ("token_type_ids",) if names in ("bert", "electra", "albert") else ()
    return tiny.tokens_of(base, TEXTS, ("input_ids", "attention_mask", *types))


if __name__ == "__main__":
    main()
