"""EdgeSession: one onnxruntime session over one base, and tasks swapped in by what is fed.

Texts and pictures in, answers out; what takes arrays is in `array_session`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from osd_edge.data.arguments import as_path, as_whole, expect
from osd_edge.data.example import Example
from osd_edge.errors import Code, InputError, TaskError
from osd_edge.formats.heads import Floats
from osd_edge.formats.package.chat import SYSTEM, messages_of
from osd_edge.runtime.array_session import ArraySession
from osd_edge.runtime.generation.answer_settings import AnswerSettings
from osd_edge.runtime.generation.conversation import Conversation
from osd_edge.runtime.generation.conversation_limits import ConversationLimits
from osd_edge.runtime.generation.generate import Cancel, cancellation, pieces_of, prepared
from osd_edge.runtime.generation.prompts import Prompt
from osd_edge.runtime.generation.results import GeneratedText, Piece
from osd_edge.runtime.generation.sampling import Sampling
from osd_edge.runtime.images import normalised
from osd_edge.runtime.inputs import RunInputs
from osd_edge.runtime.kinds import (
    KINDS,
    AskedTask,
    Classifier,
    Embedding,
    Kind,
    Request,
    Spans,
    TokenLabels,
    expect_kind,
)
from osd_edge.runtime.kinds.answer import Span, find_spans
from osd_edge.runtime.kinds.classify import Answer
from osd_edge.runtime.kinds.tag import Tag, find_tags
from osd_edge.runtime.loaded_tasks import ACTIVE, NamedTask, TaskOrBase
from osd_edge.runtime.mixed import TaskNames, task_names
from osd_edge.runtime.parts import Parts
from osd_edge.runtime.stacked_factors import Rows
from osd_edge.runtime.task import DecodedTask
from osd_edge.runtime.text import Texts, as_texts
from osd_edge.runtime.windows import STRIDE, Windows

_Kind = TypeVar("_Kind", bound=Kind)


class EdgeSession(ArraySession):
    """Tasks over one base, in one onnxruntime session that is never rebuilt.

    Safe to use from many threads: a run has the task that was active when it began, whole,
    whatever other threads do meanwhile. What is loaded is the bytes of bundles, decoded when a
    task is used. A session is for the process that opened it: a forked one opens its own. `close`,
    or the end of a `with` block, gives its memory back.

    Args:
        base: the base package, a folder that `osd-edge export base` wrote.
        threads: how many threads a run takes; 0 for all cores.
        cache_bytes: how many bytes of decoded tasks are kept, the latest used first. The very
            latest is kept whatever its size.
        memory: "default" for speed; "low" for small devices, where the base's weights stay in
            their file: slower, and far less resident memory.

    Raises:
        BaseError: the package is damaged, incomplete or of an unknown version.
        InputError: `input.memory` for another memory profile, `input.path` for a path that is none,
            `input.number` for threads or bytes that are no whole number.

    Attributes:
        folder: the base package.

    Example:
        >>> from osd_edge.runtime import EdgeSession
        >>> session = EdgeSession("minilm", threads=1)
        >>> session.load("mr.osd.safetensors"), session.load("trec.osd.safetensors")
        ('mr', 'trec')
        >>> session.activate("mr")
        >>> session.classify(["a film of real charm"])
        [Answer(label='...', score=0..., scores={'negative': 0..., 'positive': 0...})]
        >>> session.activate("trec")  # a swap
        >>> session.classify(["How far is it from here?"])[0].label in session.labels("trec")
        True
        >>> session.deactivate()  # the base again
    """

    def ask(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        *,
        task: NamedTask = ACTIVE,
        question: str | None = None,
        max_length: int | None = None,
    ) -> list[Any]:
        """Asks a task of any kind about texts.

        Args:
            texts: the texts, one or more.
            pairs: a second text for each, for tasks that classify pairs.
            task: a loaded task; unless given, the active one.
            question: what tasks that find answers look for in each text; others ignore it.
            max_length: the most tokens of a text, or of a window of it where the kind reads long
                texts in windows, where they are fewer than the task and the base take.

        Returns:
            One answer for each text, as the kind gives it: what `classify` gives of a text, or
            `tag` (a list of tags), `answer` (a list of one span) or `embed` (a vector).

        Raises:
            InputError: `input.question` where a question is needed, `input.texts`,
                `input.max-length`, `input.tokenizers`.
            TaskError: `task.none` without a task, `task.unknown`.
            BaseError: `base.text` where the base has no tokenizer.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.load("mr.osd.safetensors"), session.load("squad.osd.safetensors")
            ('mr', 'squad')
            >>> session.ask(["a film of real charm"], task="mr")
            [Answer(label='...', ...)]
            >>> session.ask(["Ada lives in Paris"], task="squad", question="Where is Ada?")
            [[Span(text='...', ...)]]
        """
        parts = self._parts
        decoded = parts.needed(task)
        kind = KINDS[decoded.head.kind]
        request = Request(texts, pairs, question, max_length)
        kind.check_request(decoded.name, request)
        return kind.answers(self._asked(parts, decoded), request)

    def classify(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        *,
        task: NamedTask = ACTIVE,
        tasks: Sequence[str] | NDArray[Any] | None = None,
        max_length: int | None = None,
    ) -> list[Answer]:
        """Gives the likeliest label and all scores of each text, or pair of texts, in one batch.

        Args:
            texts: the texts, one or more; what is beyond `max_length` is cut off.
            pairs: a second text for each.
            task: a loaded task; unless given, the active one.
            tasks: a loaded task for each text, in the place of one for all.
            max_length: the most tokens of a text or pair, where they are fewer than the task and
                the base take.

        Returns:
            An answer for each text.

        Raises:
            TaskError: `task.none` without a task, `task.unknown`, `task.kind` for a task that has
                no score for each label.
            InputError: `input.texts`, `input.tasks`, `input.max-length`; `input.tokenizers`
                without the `tokenizers` package.
            BaseError: `base.text` where the base has no tokenizer.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.load("mr.osd.safetensors"), session.load("trec.osd.safetensors")
            ('mr', 'trec')
            >>> one, other = session.classify(["a dull film", "Who?"], tasks=["mr", "trec"])
            >>> list(one.scores), list(other.scores)
            (['negative', 'positive'], ['person', 'place', 'number'])
        """
        parts = self._parts

        def inputs(rows: Rows) -> RunInputs:
            if tasks is None:
                return parts.encoder_of(rows[0])(texts, pairs, max_length=max_length)
            return parts.token_inputs(texts, pairs, rows, max_length)

        return _classify(parts, inputs, task, tasks)

    def classify_images(
        self,
        images: NDArray[Any],
        *,
        task: NamedTask = ACTIVE,
        tasks: Sequence[str] | NDArray[Any] | None = None,
    ) -> list[Answer]:
        """Gives the likeliest label and all scores of each picture, in one batch.

        Args:
            images: integers 0 to 255, uint8 `[batch, height, width, channels]`, of the size that
                the base takes.
            task: a loaded task; unless given, the active one.
            tasks: a loaded task for each picture, in the place of one for all.

        Returns:
            An answer for each picture.

        Raises:
            TaskError: as `classify` does.
            InputError: `input.shape` for another size or type, `input.tasks`.
            BaseError: `base.image` where the base takes no pictures.

        Example:
            >>> session = EdgeSession("vit")
            >>> session.activate(session.load("birds.osd.safetensors"))
            >>> size = session.manifest.image
            >>> grey = np.full((1, size.height, size.width, size.channels), 128, np.uint8)
            >>> session.classify_images(grey)
            [Answer(label='...', ...)]
        """
        parts = self._parts
        pixels = normalised(self.manifest, images)
        return _classify(parts, lambda _: pixels, task, tasks)

    def tag(
        self,
        texts: Texts,
        *,
        words: bool = False,
        task: NamedTask = ACTIVE,
        max_length: int | None = None,
        stride: int = STRIDE,
    ) -> list[list[Tag]]:
        """Finds the parts of each text to which a label applies, by a task of token labels.

        Texts may be of any length: they go through the base in windows that overlap.

        Args:
            texts: the texts, one or more.
            words: whether the first token of a word speaks for all of it.
            task: a loaded task; unless given, the active one.
            max_length: the most tokens of a window, where they are fewer than the task and the
                base take.
            stride: how many of them are in the next window too, at most half of a window.

        Returns:
            The tags of each text, in the order of the text.

        Raises:
            TaskError: `task.none` without a task, `task.unknown`, `task.kind` for a task of another
                kind.
            InputError: `input.texts`, `input.max-length`, `input.stride`, `input.tokenizers`,
                `input.type` for words that is neither True nor False.
            BaseError: `base.text` where the base has no tokenizer.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.activate(session.load("ner.osd.safetensors"))
            >>> text = "Ada lives in Paris"
            >>> (tags,) = session.tag([text], words=True, stride=8)
            >>> all(text[tag.start : tag.end] == tag.text for tag in tags)
            True
        """
        parts, texts = self._parts, as_texts(texts)
        expect(words, bool, "words")
        decoded, _ = _needed_of(parts, TokenLabels, task)
        asked = self._asked(parts, decoded)
        cut = Windows(asked.encoder, max_length, stride)
        return [find_tags(text, cut, asked.logits, asked.labels, words=words) for text in texts]

    def answer(
        self,
        question: str,
        context: str,
        *,
        top: int = 1,
        max_tokens: int = 15,
        task: NamedTask = ACTIVE,
        max_length: int | None = None,
        stride: int = STRIDE,
    ) -> list[Span]:
        """Finds the likeliest answers to a question in a text, by a task of spans.

        The text may be of any length: it goes through the base in windows that overlap, each behind
        the whole question.

        Args:
            question: the question.
            context: the text that has the answer.
            top: the most answers.
            max_tokens: the most tokens of an answer.
            task: a loaded task; unless given, the active one.
            max_length: the most tokens of a window, as for `tag`.
            stride: how many of them are in the next window too, as for `tag`.

        Returns:
            Up to `top` answers, the likeliest first.

        Raises:
            TaskError: as `tag` does.
            InputError: as `tag` does; `input.max-length` too where the question leaves a window no
                room, `input.number` for a `top` or `max_tokens` that is not 1 or more.
            BaseError: `base.text` where the base has no tokenizer.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.activate(session.load("squad.osd.safetensors"))
            >>> context = "Ada lives in Paris"
            >>> spans = session.answer("Where is Ada?", context, top=2)
            >>> [context[span.start : span.end] == span.text for span in spans]
            [True, True]
        """
        parts = self._parts
        top, max_tokens = as_whole(top, "top", 1), as_whole(max_tokens, "max_tokens", 1)
        decoded, _ = _needed_of(parts, Spans, task)
        asked = self._asked(parts, decoded)
        cut = Windows(asked.encoder, max_length, stride)
        return find_spans(question, context, cut, asked.logits, top=top, max_tokens=max_tokens)

    def embed(
        self,
        texts: Texts,
        *,
        task: NamedTask = ACTIVE,
        max_length: int | None = None,
    ) -> Floats:
        """Gives a vector for each text, by a task of embeddings, in one batch.

        Args:
            texts: the texts, one or more; what is beyond `max_length` is cut off.
            task: a loaded task; unless given, the active one.
            max_length: the most tokens of a text, where they are fewer than the task and the base
                take.

        Returns:
            float32 `[batch, features]`; of length 1 where the fine-tuned model's are.

        Raises:
            TaskError: as `tag` does.
            InputError: `input.texts`, `input.max-length`, `input.tokenizers`.
            BaseError: `base.text` where the base has no tokenizer.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.activate(session.load("sentences.osd.safetensors"))
            >>> vectors = session.embed(["a dull film", "How far is it?"])
            >>> np.linalg.norm(vectors, axis=1).round(3).tolist()
            [1.0, 1.0]
        """
        parts = self._parts
        decoded, _ = _needed_of(parts, Embedding, task)
        return parts.logits(parts.encoder_of(decoded)(texts, max_length=max_length), decoded)

    @overload
    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        task: TaskOrBase = ACTIVE,
        tasks: TaskNames | None = None,
        stream: Literal[False] = False,
        cancel: Cancel = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> list[GeneratedText]: ...

    @overload
    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        task: TaskOrBase = ACTIVE,
        tasks: TaskNames | None = None,
        stream: Literal[True],
        cancel: Cancel = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Iterator[Piece]: ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        task: TaskOrBase = ACTIVE,
        tasks: TaskNames | None = None,
        stream: bool = False,
        cancel: Cancel = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> list[GeneratedText] | Iterator[Piece]:
        """Writes an answer to each prompt, a token after the other, all prompts in one batch.

        A row that cannot be answered is refused alone (`ended` is `refused`, and `error` says why),
        and the others answer.

        Args:
            prompts: one or more, each a text, whose special tokens are what they are; messages
                `{"role": ..., "content": ...}`, in whose content they are text; or token ids.
            task: a loaded task that writes text; None for the base alone; unless given, the active
                task, or the base alone where there is none.
            tasks: a loaded task for each prompt, or None for the base alone.
            stream: whether pieces are given as they come, in the place of whole answers.
            cancel: an event that is set, or a function that gives True, when no more is wanted; it
                is asked between tokens.
            max_tokens: the most tokens of an answer.
            temperature: how evenly tokens are drawn, 1 as the model says; 0 takes the likeliest.
            top_k: draws from so many likeliest tokens; 0 from all.
            top_p: draws from the fewest likeliest tokens whose chances add up to it.
            min_p: draws from tokens at least so many times as likely as the likeliest.
            repetition_penalty: makes tokens that were there less likely, above 1.
            seed: makes draws repeatable, row by row.
            stop: texts that end an answer, and are no part of it.

        Returns:
            An answer for each prompt; with `stream` an iterator of the pieces of all of them.

        Raises:
            BaseError: `base.generation` for a base that writes no text; `base.chat`, `base.text`.
            InputError: `input.prompt`, `input.messages`, `input.role`, `input.context` where every
                row is refused; `input.tasks`, `input.number`, `input.texts` for stop texts that
                are none, `input.type`, `input.tokenizers`.
            TaskError: `task.unknown`, `task.kind`, `task.not-finite` where every row is refused.

        Example:
            >>> session = EdgeSession("smollm2")
            >>> session.generate(["The capital of France is"], max_tokens=4)
            [GeneratedText(text='...', tokens=(...), ended='...', ...)]
            >>> question = [{"role": "user", "content": "Who are you?"}]
            >>> stream = session.generate([question], max_tokens=4, stream=True)
            >>> {piece.row for piece in stream}
            {0}
        """
        parts = self._parts
        expect(stream, bool, "stream")
        sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
        settings = AnswerSettings(max_tokens, sampling, seed, stop).checked()
        cancelled = cancellation(cancel)
        rows = prepared(parts, prompts, task, tasks)
        pieces = pieces_of(parts, rows, settings, cancelled)
        if stream:
            return self._lifetime.guarded(pieces)
        for _ in pieces:
            pass
        return [row.result() for row in rows]

    def conversation(
        self,
        *,
        task: TaskOrBase = ACTIVE,
        system: str | None = None,
        max_tokens: int | None = None,
        max_bytes: int | None = None,
        when_full: str = "refuse",
    ) -> Conversation:
        """Begins a conversation, which keeps what was said and the keys that were made of it.

        Args:
            task: a loaded task that writes text; None for the base alone; unless given, the active
                task, or the base alone where there is none. Once another is active, `say` asks for
                `recompute`.
            system: a message before all others, such as how to answer.
            max_tokens: the most tokens of the conversation; unless given, the base's context.
            max_bytes: the most bytes of its keys.
            when_full: what happens then: `refuse`, or `drop`, which forgets the oldest turns.

        Returns:
            The conversation.

        Raises:
            BaseError: `base.generation` for a base that writes no text, `base.chat` for one whose
                model was taught no conversations.
            TaskError: `task.unknown`, `task.kind`.
            InputError: `input.messages`, `input.number`, `input.options`.

        Example:
            >>> session = EdgeSession("smollm2")
            >>> conversation = session.conversation(system="Answer in a few words.")
            >>> conversation.say("What is the capital of France?", max_tokens=4)
            GeneratedText(text='...', ...)
        """
        limits = ConversationLimits(max_tokens, max_bytes, when_full)
        first = [] if system is None else messages_of([{"role": SYSTEM, "content": system}])
        return Conversation(self._lifetime, task, limits, first)

    def restore_conversation(self, path: str | Path, *, recompute: bool = False) -> Conversation:
        """Restores a conversation that `Conversation.save` wrote, over the same base and task.

        Args:
            path: the file.
            recompute: whether its keys are made anew where another bundle is loaded under the name
                of its task.

        Returns:
            The conversation, with the limits that it had.

        Raises:
            ConversationError: `conversation.file` for a file that is damaged or none,
                `conversation.base` for one of another base package, `conversation.task` where its
                task is not loaded, or is another by that name.
            TaskError: `task.kind`.
            InputError: `input.path`, `input.type`.

        Example:
            >>> session = EdgeSession("smollm2")
            >>> session.conversation().save("talk.conversation")
            >>> session.restore_conversation("talk.conversation").messages
            []
        """
        expect(recompute, bool, "recompute")
        file = as_path(path, "path")
        return Conversation.restored(self._lifetime, file, recompute=recompute)

    def encode(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        *,
        task: TaskOrBase = ACTIVE,
        tasks: TaskNames | None = None,
        max_length: int | None = None,
    ) -> dict[str, NDArray[np.int64]]:
        """Turns texts, or pairs of texts, into token inputs for `run`, padded on the right.

        They are what the task needs, with which they are to be run: a task may say where its texts
        are cut, and what stands before them.

        Args:
            texts: the texts, one or more; what is beyond `max_length` is cut off.
            pairs: a second text for each.
            task: as for `run`: a loaded task; None for the base alone; unless given, the active
                task, or the base alone where there is none.
            tasks: a loaded task for each text, or None for the base alone.
            max_length: the most tokens of a text or pair, where they are fewer than the task and
                the base take.

        Returns:
            The inputs that the base takes, int64 `[batch, tokens]` each.

        Raises:
            InputError: `input.texts`, `input.tasks`, `input.max-length`; `input.tokenizers`
                without the `tokenizers` package.
            TaskError: `task.unknown` where no such task is loaded.
            BaseError: `base.text` where the base has no tokenizer.

        Example:
            >>> session = EdgeSession("minilm")
            >>> inputs = session.encode(["a cat", "a dog ran"])
            >>> list(inputs), inputs["input_ids"].shape
            (['input_ids', 'attention_mask', 'token_type_ids'], (2, 5))
        """
        parts = self._parts
        if tasks is None:
            encoder = parts.encoder_of(parts.tasks.resolve(task))
            return encoder(texts, pairs, max_length=max_length)
        if task is not ACTIVE:
            raise InputError(Code.INPUT_TASKS, "give task or tasks, not both")
        return parts.token_inputs(texts, pairs, parts.mixed.rows(tasks), max_length)

    def _judged(
        self, task: str, examples: Sequence[Example], max_length: int | None
    ) -> Sequence[Any]:
        """Holds the answers of a task to `examples` against the right ones."""
        parts = self._parts
        decoded = parts.needed(task)
        return KINDS[decoded.head.kind].judged(self._asked(parts, decoded), examples, max_length)

    def _asked(self, parts: Parts, decoded: DecodedTask) -> AskedTask:
        run = partial(parts.logits, decoded=decoded)
        write = partial(self.generate, task=decoded.name)
        return AskedTask(decoded.name, decoded.labels, parts.encoder_of(decoded), run, write)


def _needed_of(parts: Parts, wanted: type[_Kind], task: TaskOrBase) -> tuple[DecodedTask, _Kind]:
    decoded = parts.needed(task)
    return decoded, expect_kind(decoded.name, decoded.head.kind, wanted)


def _classify(
    parts: Parts, inputs: Callable[[Rows], RunInputs], task: TaskOrBase, tasks: TaskNames | None
) -> list[Answer]:
    """Classifies what `inputs` makes for the tasks of the rows, or for the one task of all."""
    if tasks is None:
        decoded, kind = _needed_of(parts, Classifier, task)
        return kind.scored(decoded.labels, parts.logits(inputs((decoded,)), decoded))
    if task is not ACTIVE:
        raise InputError(Code.INPUT_TASKS, "give task or tasks, not both")
    names = task_names(tasks)
    if any(name is None for name in names):
        raise TaskError(Code.TASK_NONE, "every text needs a task: name one for each")
    rows = parts.mixed.rows(names)
    named = [row for row in rows if row is not None]
    kinds = [expect_kind(row.name, row.head.kind, Classifier) for row in named]
    feeds = parts.mixed.checked(inputs(rows), rows)
    found = []
    for kind, row, logits in zip(kinds, named, parts.mixed.run(feeds, rows).logits, strict=True):
        assert logits is not None
        found += kind.scored(row.labels, logits[None])
    return found
