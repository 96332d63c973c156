"""Reads the prompts of a sentence-transformers model: texts that it puts before those it is given.

One may be the default, which `encode` puts before every text; the others are for those who call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.sentence_folder import SETTINGS, read_object
from osd_edge.formats.bundle.text import MAX_PROMPT


@dataclass(frozen=True)
class SentencePrompts:
    """The default prompt, empty without one, and the texts of the `others` by name."""

    default: str = ""
    others: Mapping[str, str] = field(default_factory=dict)


def sentence_prompts(folder: Path) -> SentencePrompts:
    """The prompts of the model in `folder`, none where it has no such file.

    Raises ModelError `model.head` where its settings are malformed.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return SentencePrompts()
    settings = read_object(path)
    prompts, name = settings.get("prompts") or {}, settings.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(
        isinstance(text, str | None) for text in prompts.values()
    ):
        raise ModelError(Code.MODEL_HEAD, f"{path}: expected texts by name as prompts")
    if name is not None and (not isinstance(name, str) or prompts.get(name) is None):
        raise ModelError(
            Code.MODEL_HEAD,
            f"{path}: the default prompt is {shown(repr(name), 40)}, found prompts "
            f"{shown(', '.join(prompts) or 'none', 80)}",
        )
    default = "" if name is None else prompts[name]
    if len(default) > MAX_PROMPT or not _is_unicode(default):
        raise ModelError(
            Code.MODEL_HEAD,
            f"{path}: expected a default prompt of at most {MAX_PROMPT} characters of Unicode, "
            f"found {shown(repr(default), 40)} of {len(default)}",
        )
    others = {key: text for key, text in prompts.items() if text and text != default}
    return SentencePrompts(default, others)


def _is_unicode(text: str) -> bool:
    """Says whether a text of a JSON file can be written again: half a character cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
