"""Attention masks in a form that can be traced, and that fusion knows.

Transformers makes a mask by one function for all models, which `transformers.masking_utils`
lets others replace. Its own goes through vmap in version 4, which TorchScript cannot trace, and in
version 5 through a Where that onnxruntime's fusion does not find.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import masking_utils
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

# What an encoder's mask starts from; transformers 4 asks for none.
_EVERYTHING = getattr(masking_utils, "bidirectional_mask_function", None)


@contextmanager
def traceable_masks() -> Iterator[None]:
    """Models that run within, with eager attention, make their masks by `additive_mask`."""
    before = ALL_MASK_ATTENTION_FUNCTIONS["eager"]
    ALL_MASK_ATTENTION_FUNCTIONS.register("eager", additive_mask)
    try:
        yield
    finally:
        ALL_MASK_ATTENTION_FUNCTIONS.register("eager", before)


class _SeesAll:
    """A table of which tokens see which, of any size, by which every token sees every other."""

    def __getitem__(self, part: Any) -> torch.Tensor:
        return torch.ones((1, 1, 1, 1), dtype=torch.bool)


def leave_causal_to_masks(model: torch.nn.Module) -> None:
    """Take tables of which token may see which out of GPT-2's layers, in place.

    They are as wide as the model's positions, which columns of keys may exceed: padding between
    a prompt and its answer takes columns, and no positions. The mask says the same.
    """
    for module in model.modules():
        table = module._buffers.get("bias")
        if table is not None and table.dtype == torch.bool:
            del module.bias
            object.__setattr__(module, "bias", _SeesAll())


def additive_mask(
    *,
    mask_function: Callable[..., Any],
    kv_length: int,
    dtype: torch.dtype,
    attention_mask: torch.Tensor | None = None,
    **given: Any,
) -> torch.Tensor | None:
    """Makes what is added to attention's scores: 0 where a token is seen, else the least number.

    `attention_mask` `[batch, tokens]` is bool, `mask_function` says of indices of rows, heads,
    queries and tokens, which broadcast, whether one sees the other. The result is
    `[batch, 1, queries, tokens]`, or has 1 for what does not matter; None where all is seen.
    """
    least = torch.finfo(dtype).min
    if mask_function is _EVERYTHING:
        if attention_mask is None:
            return None
        wide = attention_mask.unsqueeze(1).unsqueeze(2)
        hidden = 1.0 - wide.expand(-1, 1, given["q_length"], -1).to(dtype)
        return hidden.masked_fill(hidden.to(torch.bool), least)  # as fusion knows it
    queries = given.get("cache_position")  # transformers 4 gives positions, 5 how many there are
    if queries is None:
        queries = torch.arange(given["q_length"]) + given.get("q_offset", 0)
    tokens = torch.arange(kv_length) + given.get("kv_offset", 0)
    one = torch.zeros(1, dtype=torch.int64)
    seen = mask_function(
        one[:, None, None, None], one[None, :, None, None], queries[:, None], tokens[None, :]
    )
    if attention_mask is not None:
        seen = seen & attention_mask[:, None, None, :]
    return torch.where(seen, torch.zeros((), dtype=dtype), least)
