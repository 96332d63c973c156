"""EdgeSession: one onnxruntime session over one base, and tasks swapped in by what is fed.

Texts and pictures in, answers out; what takes arrays is in `array_session`.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import Code, InputError, TaskError
from osd_edge.formats.heads import Floats
from osd_edge.runtime.array_session import ArraySession
from osd_edge.runtime.images import normalised
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
from osd_edge.runtime.kinds.answer import Span, answer
from osd_edge.runtime.kinds.classify import Answer
from osd_edge.runtime.kinds.tag import Tag, tag
from osd_edge.runtime.loaded_tasks import ACTIVE, NamedTask, TaskOrBase
from osd_edge.runtime.task import DecodedTask
from osd_edge.runtime.text import TextEncoder, check_texts
from osd_edge.runtime.windows import WindowOptions, Windows, check_options

_Kind = TypeVar("_Kind", bound=Kind)


class EdgeSession(ArraySession):
    """Tasks over one base, in one onnxruntime session that is never rebuilt.

    Safe to use from many threads: a run has the task that was active when it began, whole,
    whatever other threads do meanwhile. Loaded tasks stay coded until they are used; decoded
    ones are kept, the latest used first, within `cache_bytes`, and the very latest always.
    """

    def ask(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        task: NamedTask = ACTIVE,
        question: str | None = None,
        max_length: int | None = None,
    ) -> list[Any]:
        """Asks a task of any kind; one answer for each text, as the kind's own method gives it.

        `pairs` are second texts, for kinds that take them. `question` is what tasks that find
        answers look for in each text; others have no use for it. Raises as `classify` does, and
        InputError `input.question`.
        """
        decoded = self._needed(task)
        kind = KINDS[decoded.head.kind]
        request = Request(texts, pairs, question, max_length)
        kind.check_request(decoded.name, request)
        return kind.answers(self._asked(decoded), request)

    def classify(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        task: NamedTask = ACTIVE,
        tasks: Sequence[str] | None = None,
        max_length: int | None = None,
    ) -> list[Answer]:
        """Label and scores of each text (or pair of texts), in one batch.

        For tasks of one label, several labels, or numbers. `tasks` names the task of each text,
        in the place of one for all. Needs the `tokenizers` package. Raises TaskError `task.none`
        without a task, `task.kind` for a task of another kind.
        """
        return self._classify(self.encode(texts, pairs, max_length=max_length), task, tasks)

    def classify_images(
        self,
        images: NDArray[Any],
        *,
        task: NamedTask = ACTIVE,
        tasks: Sequence[str] | None = None,
    ) -> list[Answer]:
        """As `classify`, of pictures `[batch, height, width, channels]`, integers 0 to 255.

        Pictures have the size that the base takes. Raises BaseError `base.image` too.
        """
        return self._classify(normalised(self.manifest, images), task, tasks)

    def tag(
        self,
        texts: Sequence[str],
        *,
        words: bool = False,
        task: NamedTask = ACTIVE,
        **windows: Unpack[WindowOptions],
    ) -> list[list[Tag]]:
        """The tags of each text, by a task of the kind `token-labels`.

        Texts may be of any length: they go through in windows of `max_length` tokens, of which
        `stride` overlap (128 unless given). With `words` the first token of a word speaks for all
        of it. Raises as `classify` does.
        """
        check_options("EdgeSession.tag", windows)
        check_texts(texts)
        decoded, _ = self._needed_of(TokenLabels, task)
        asked = self._asked(decoded)
        cut = Windows(asked.encoder, **windows)
        return [tag(text, cut, asked.logits, asked.labels, words=words) for text in texts]

    def answer(
        self,
        question: str,
        context: str,
        *,
        top: int = 1,
        max_tokens: int = 15,
        task: NamedTask = ACTIVE,
        **windows: Unpack[WindowOptions],
    ) -> list[Span]:
        """The `top` likeliest answers in `context`, by a task of the kind `spans`.

        An answer has at most `max_tokens` tokens. The context may be of any length, as in `tag`.
        Raises as `classify` does.
        """
        check_options("EdgeSession.answer", windows)
        decoded, _ = self._needed_of(Spans, task)
        asked = self._asked(decoded)
        cut = Windows(asked.encoder, **windows)
        return answer(question, context, cut, asked.logits, top=top, max_tokens=max_tokens)

    def embed(
        self,
        texts: Sequence[str],
        *,
        task: NamedTask = ACTIVE,
        max_length: int | None = None,
    ) -> Floats:
        """A vector for each text, `[batch, features]`, by a task of the kind `embedding`.

        Raises as `classify` does.
        """
        inputs = self.encode(texts, max_length=max_length)
        decoded, _ = self._needed_of(Embedding, task)
        return self._logits(inputs, decoded)

    def encode(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
    ) -> dict[str, NDArray[np.int64]]:
        """Token inputs for `run` from texts (or pairs of texts)."""
        return self._encoder(texts, pairs, max_length=max_length)

    @cached_property
    def _encoder(self) -> TextEncoder:
        # Two threads that are first at once may each make one: either does.
        return TextEncoder(self.folder, self.manifest)

    def _needed(self, task: TaskOrBase) -> DecodedTask:
        decoded = self._tasks.resolve(task)
        if decoded is None:
            raise TaskError(Code.TASK_NONE, "no task is active: activate one, or name it")
        return decoded

    def _needed_of(self, wanted: type[_Kind], task: TaskOrBase) -> tuple[DecodedTask, _Kind]:
        decoded = self._needed(task)
        return decoded, expect_kind(decoded.name, decoded.head.kind, wanted)

    def _asked(self, decoded: DecodedTask) -> AskedTask:
        run = partial(self._logits, decoded=decoded)
        return AskedTask(decoded.name, decoded.labels, self._encoder, run)

    def _classify(
        self, inputs: Mapping[str, NDArray[Any]], task: TaskOrBase, tasks: Sequence[str] | None
    ) -> list[Answer]:
        if tasks is None:
            decoded, kind = self._needed_of(Classifier, task)
            return kind.scored(decoded.labels, self._logits(inputs, decoded))
        if task is not ACTIVE:
            raise InputError(Code.INPUT_TASKS, "give task or tasks, not both")
        if any(name is None for name in tasks):
            raise TaskError(Code.TASK_NONE, "every text needs a task: name one for each")
        feeds, rows = self._mixed.rows(inputs, tasks)
        named = [row for row in rows if row is not None]
        kinds = [expect_kind(row.name, row.head.kind, Classifier) for row in named]
        found = []
        for kind, row, logits in zip(
            kinds, named, self._mixed.run(feeds, rows).logits, strict=True
        ):
            assert logits is not None
            found += kind.scored(row.labels, logits[None])
        return found

    def _logits(self, inputs: Mapping[str, NDArray[Any]], decoded: DecodedTask) -> Floats:
        output = self._run(inputs, decoded)
        assert output.logits is not None
        return output.logits
