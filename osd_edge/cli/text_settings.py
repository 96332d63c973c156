"""Says in a line how a task's texts become tokens."""

from collections.abc import Mapping
from typing import Any

from osd_edge.errors import shown


def text_settings(text: Mapping[str, Any]) -> str:
    """The settings that a bundle's `osd.text` holds, in words.

    >>> text_settings({"max_length": 128, "prompt": "query: "})
    "at most 128 tokens, behind the prompt 'query: '"
    """
    parts = []
    if "max_length" in text:
        parts.append(f"at most {text['max_length']} tokens")
    if "truncation" in text:
        parts.append(f"cut on the {text['truncation']}")
    if "prompt" in text:
        parts.append(f"behind the prompt {shown(repr(text['prompt']), 200)}")
    return ", ".join(parts)
