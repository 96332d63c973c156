"""The facts of a decoder that writes text: its limits, its key caches, its stop tokens."""

from typing import Any

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.language_head import language_head
from osd_edge.exporters.models.tokenizer import load_tokenizer, max_tokens
from osd_edge.formats.package.generation import Generation


def longest_text(base: Checkpoint, asked: int | None = None) -> int:
    """The most tokens of a text: what the model and its tokenizer take, or fewer if `asked` for."""
    tokenizer = load_tokenizer(base)
    most = (
        int(base.config.max_position_embeddings)
        if tokenizer is None
        else max_tokens(base, tokenizer)
    )
    return most if asked is None else min(asked, most)


def generation_facts(backbone: Backbone, context: int) -> Generation:
    """The facts of `backbone`'s language model for texts of `context` tokens; raises ModelError."""
    config = backbone.checkpoint.config
    queries = int(config.num_attention_heads)
    return Generation(
        context=context,
        vocabulary=language_head(backbone).vocabulary,
        layers=int(config.num_hidden_layers),
        heads=int(getattr(config, "num_key_value_heads", None) or queries),
        head_size=int(getattr(config, "head_dim", None) or config.hidden_size // queries),
        in_place=backbone.family.decoder is not None,
        stop_ids=_stop_ids(config, backbone),
    )


def _stop_ids(config: Any, backbone: Backbone) -> tuple[int, ...]:
    eos = config.eos_token_id
    if eos is None:
        raise ModelError(Code.MODEL_CONFIG, f"{backbone.checkpoint.folder} has no stop token")
    return (eos,) if isinstance(eos, int) else tuple(eos)
