"""A tokenizer's padding token, where the model does not know the tokenizer's own.

A padding token that was added to a tokenizer, and no row for it to the model, has an id beyond the
embeddings. Where padding stands the mask says, so any id that the model knows will do.
"""

from typing import Any


def pad_within_vocabulary(tokenizer: Any, config: Any) -> None:
    """Sets a padding token of the vocabulary where `tokenizer` has one beyond it."""
    vocabulary = getattr(config, "vocab_size", None)
    if not isinstance(vocabulary, int) or tokenizer.pad_token_id < vocabulary:
        return
    known = (config.pad_token_id, config.eos_token_id, 0)
    number = next(n for n in known if isinstance(n, int) and 0 <= n < vocabulary)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(number)
