"""The form of conversations of a language model, as a base package stores it."""

from typing import Any

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.chat_proof import ChatProof
from osd_edge.exporters.models.chat_reference import chat_reference
from osd_edge.exporters.models.chat_words import candidate_words
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.formats.package.chat import USER, Message
from osd_edge.formats.package.chat_template import Chat, ChatTemplate


def chat_facts(checkpoint: Checkpoint, tokenizer: Any) -> Chat | None:
    """The form in which the model of `checkpoint` was taught conversations; None without one.

    It is the words around messages where these give the texts and tokens of the model's template on
    all conversations of the proof; else the template itself, which a device renders with jinja2.
    `tokenizer` is the checkpoint's, or None. Raises ModelError `model.template` for a template that
    cannot be read or rendered, or that reads what a device does not give it.
    """
    reference = None if tokenizer is None else chat_reference(checkpoint, tokenizer)
    if reference is None:
        return None
    proof = ChatProof(reference)
    if not proof.is_possible:
        why = reference.why_not([Message(USER, "Hello")])
        raise ModelError(
            Code.MODEL_TEMPLATE,
            f"{checkpoint.folder}: its chat template renders no conversation ({why}): correct it, "
            "or take it out to export a base that takes texts alone",
        )
    words = proof.proven(candidate_words(reference))
    if words is not None:
        return words
    template = ChatTemplate(reference.source, reference.bos, reference.eos)
    if not proof.holds(template):
        raise ModelError(
            Code.MODEL_TEMPLATE,
            f"{checkpoint.folder}: its chat template reads more than messages and the tokens that "
            "begin and end a text, which is all that a device gives it",
        )
    return template
