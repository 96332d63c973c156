"""The facts of a decoder that writes text: its limits, caches, stop tokens, conversations."""

from typing import Any

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.chat_facts import chat_facts
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.language_head import language_head
from osd_edge.exporters.models.stop_tokens import stop_ids
from osd_edge.exporters.models.tokenizer import load_tokenizer, max_tokens, positions
from osd_edge.formats.package.generation import Generation


def longest_text(base: Checkpoint, asked: int | None = None) -> int:
    """The most tokens of a text: what the model and its tokenizer take, or fewer if `asked` for."""
    tokenizer = load_tokenizer(base)
    most = positions(base) if tokenizer is None else max_tokens(base, tokenizer)
    return most if asked is None else min(asked, most)


def generation_facts(backbone: Backbone, context: int) -> Generation:
    """The facts of `backbone`'s language model for texts of `context` tokens; raises ModelError."""
    base = backbone.checkpoint
    tokenizer = load_tokenizer(base)
    vocabulary = language_head(backbone).vocabulary
    return Generation(
        context=context,
        vocabulary=vocabulary,
        **_cache_sizes(base.config),
        in_place=backbone.family.decoder is not None,
        stop_ids=stop_ids(base, tokenizer, vocabulary),
        chat=chat_facts(base, tokenizer),
    )


def _cache_sizes(config: Any) -> dict[str, Any]:
    try:
        queries = int(config.num_attention_heads)
        return {
            "layers": int(config.num_hidden_layers),
            "heads": int(getattr(config, "num_key_value_heads", None) or queries),
            "head_size": int(getattr(config, "head_dim", None) or config.hidden_size // queries),
        }
    except (AttributeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            Code.MODEL_CONFIG, f"config.json does not say which heads the layers have: {error}"
        ) from error
