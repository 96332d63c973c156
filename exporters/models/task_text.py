"""Finds how the software of a fine-tuned model makes tokens of texts: what is cut, and the prompt.

What of it the base package does not do by itself goes into the bundle, so that a device gives the
answers of transformers and sentence-transformers to long texts too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.families import family_of
from osd_edge.exporters.models.sentence_folder import (
    is_sentence_folder,
    transformer_folder,
    transformer_settings,
)
from osd_edge.exporters.models.sentence_prompts import SentencePrompts, sentence_prompts
from osd_edge.exporters.models.tokenizer import load_tokenizer, max_tokens, positions
from osd_edge.formats.bundle.text import TaskText

_CHAT = "message"  # a form of inputs for which texts go through the model's chat template
_USUAL = {"padding": (True, "longest"), "truncation": (True, "longest_first")}
# Arguments of a tokenizer that change no token of a text.
_NEUTRAL = ("trust_remote_code", "use_fast", "padding_side", "token", "revision", "cache_dir")


@dataclass(frozen=True)
class TaskTexts:
    """The facts of a task's texts: those that its bundle holds, and those for people alone.

    Attributes:
        text: the settings that a bundle needs; None where the base's own hold.
        most: the most tokens of a text on a device; None for a task without texts to cut.
        longer: the tokens that the model's own software takes, where those are more; None else.
        prompts: prompts of the model that are put before no text unless a caller does.
    """

    text: TaskText | None = None
    most: int | None = None
    longer: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """The text that stands before every first one; empty without one."""
        return "" if self.text is None else self.text.prompt or ""


def task_texts(base: Checkpoint, tuned: Checkpoint, kind: str) -> TaskTexts:
    """Finds how the task `tuned` over `base`, of this kind, makes tokens of its texts.

    Raises ModelError `model.tokenizer`, `model.head` for what a bundle cannot say.
    """
    facts = KINDS[kind].format
    if facts.writes or family_of(base.config).reads_images:
        return TaskTexts()  # prompts are not cut
    own = load_tokenizer(base)
    tokenizer = load_tokenizer(tuned) or own
    if tokenizer is None:
        return TaskTexts()
    limit = positions(base) if own is None else max_tokens(base, own)
    most, prompts = max_tokens(base, tokenizer), SentencePrompts()
    if is_sentence_folder(tuned.home) and not facts.per_token:
        prompts = sentence_prompts(tuned.home)
        asked = _Settings(transformer_folder(tuned.home), tokenizer).max_length
        most = most if asked is None else min(asked, positions(base))
    text = TaskText(
        max_length=most if most < limit else None,
        truncation="left" if tokenizer.truncation_side == "left" else None,
        prompt=prompts.default or None,
    )
    return TaskTexts(
        text=text if text.described() else None,
        most=min(most, limit),
        longer=most if most > limit else None,
        prompts=prompts.others,
    )


class _Settings:
    """The settings of a sentence-transformers stage that decide the tokens of a text.

    `max_length` is the most of them, None where its tokenizer says.
    """

    def __init__(self, folder: Path, tokenizer: Any) -> None:
        """Reads those of the transformer in `folder`. Raises ModelError."""
        self._folder = folder
        read = transformer_settings(folder)
        if read.get("do_lower_case") is True and not _lowers(tokenizer):
            raise ModelError(
                Code.MODEL_TOKENIZER,
                f"{folder}: do_lower_case lowers texts before its tokenizer does not, which a "
                "bundle cannot say: set it to false, and give texts in lower case",
            )
        if _CHAT in self._object("modality_config", read.get("modality_config") or {}):
            raise ModelError(
                Code.MODEL_HEAD,
                f"{folder}: texts go through its chat template (modality_config has {_CHAT!r}), "
                "which a bundle cannot say: save it with a modality_config of text alone",
            )
        self.max_length = self._whole("max_seq_length", read.get("max_seq_length"))
        for name in ("tokenizer_args", "processor_kwargs"):
            self._take_arguments(name, read.get(name) or {})
        self._take_calls(read.get("processing_kwargs") or {})

    def _take_arguments(self, name: str, given: Any) -> None:
        """Takes arguments that the tokenizer is made with."""
        for key, value in self._object(name, given).items():
            if key == "model_max_length":
                self.max_length = self._whole(f"{name}.{key}", value) or self.max_length
            elif key not in _NEUTRAL:
                raise self._unknown(f"{name}.{key}", value)

    def _take_calls(self, given: Any) -> None:
        """Takes arguments that the tokenizer is called with."""
        calls = self._object("processing_kwargs", given)
        for part in ("common", "text"):
            for key, value in self._object(part, calls.get(part) or {}).items():
                if key == "max_length":
                    self.max_length = self._whole(f"{part}.{key}", value) or self.max_length
                elif value not in _USUAL.get(key, ()):
                    raise self._unknown(f"processing_kwargs.{part}.{key}", value)

    def _object(self, name: str, given: Any) -> Mapping[str, Any]:
        if not isinstance(given, Mapping):
            raise self._unknown(name, given)
        return given

    def _whole(self, name: str, value: Any) -> int | None:
        if value is not None and (type(value) is not int or value < 1):
            raise ModelError(
                Code.MODEL_HEAD,
                f"{self._folder}: {name} is {shown(repr(value), 40)}: expected a whole number of "
                "1 or more",
            )
        return value

    def _unknown(self, name: str, value: Any) -> ModelError:
        return ModelError(
            Code.MODEL_HEAD,
            f"{self._folder}: {shown(name, 60)} is {shown(repr(value), 40)}, which changes how "
            "texts are read, and which a bundle cannot say: remove it",
        )


def _lowers(tokenizer: Any) -> bool:
    """Says whether a tokenizer makes lower case of texts itself."""

    def found(step: Any) -> bool:
        if isinstance(step, dict):
            bert = step.get("type") == "BertNormalizer" and step.get("lowercase") is True
            return bert or step.get("type") == "Lowercase" or any(map(found, step.values()))
        return isinstance(step, list) and any(map(found, step))

    described = json.loads(tokenizer.backend_tokenizer.to_str())
    return found(described.get("normalizer"))
