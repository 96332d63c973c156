"""EdgeSession: one onnxruntime session over one base, and tasks swapped in by what is fed."""

import enum
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import Code, InputError, TaskError, shown
from osd_edge.formats.heads import Floats, apply_head
from osd_edge.formats.package.manifest import MODEL, BaseManifest, read_manifest
from osd_edge.runtime.graph import Memory, check_graph, check_results, open_graph
from osd_edge.runtime.images import normalised
from osd_edge.runtime.inputs import base_inputs
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
from osd_edge.runtime.loaded_tasks import LoadedTasks, read_for
from osd_edge.runtime.mixed import Rows, Stack, row_logits, stack, task_by_task
from osd_edge.runtime.output import MixedOutput, Output
from osd_edge.runtime.task import DecodedTask
from osd_edge.runtime.text import TextEncoder, check_texts
from osd_edge.runtime.windows import WindowOptions, Windows, check_options


class _Active(enum.Enum):
    TASK = "the active task"


ACTIVE = _Active.TASK
Task = str | Literal[_Active.TASK] | None
_Kind = TypeVar("_Kind", bound=Kind)


class EdgeSession:
    """Tasks over one base, in one onnxruntime session that is never rebuilt.

    Safe to use from many threads: a run has the task that was active when it began, whole,
    whatever other threads do meanwhile. Loaded tasks stay coded until they are used; decoded
    ones are kept, the latest used first, within `cache_bytes`, and the very latest always.
    """

    def __init__(
        self,
        base: str | Path,
        *,
        threads: int = 0,
        cache_bytes: int = 64 * 2**20,
        memory: Memory = "default",
    ) -> None:
        """Open base package `base` on `threads` threads (0: all cores).

        `memory` "low" is for small devices: `osd_edge.runtime.graph.open_graph` says what it
        costs. Raises BaseError, InputError `input.memory`.
        """
        self.folder = Path(base)
        self.manifest: BaseManifest = read_manifest(self.folder)
        self._ort = open_graph(
            self.folder / MODEL, threads, memory, str(self.manifest.made.get("weights", "fp32"))
        )
        check_graph(self._ort, self.manifest, self.folder)
        self._lock = threading.Lock()
        self._store = LoadedTasks(self.manifest, cache_bytes)
        self._cache_bytes = cache_bytes
        self._active: DecodedTask | None = None
        self._stack: Stack | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the loaded tasks, in the order they were loaded."""
        with self._lock:
            return self._store.names

    @property
    def active(self) -> str | None:
        """Name of the active task, None where there is none."""
        active = self._active
        return None if active is None else active.name

    def kind(self, name: str) -> str:
        """Kind of a loaded task: `labels`, `token-labels`, … as `formats.heads` lists them."""
        with self._lock:
            return self._store.kind(name)

    def labels(self, name: str) -> tuple[str, ...]:
        """Labels of a loaded task, in the order of its logits."""
        with self._lock:
            return self._store.labels(name)

    def load(self, path: str | Path, name: str | None = None) -> str:
        """Check the bundle at `path` and keep it, coded; return the task's name.

        `name` replaces the name in the bundle. Raises BundleError where the file is damaged or
        made for another base, TaskError `task.taken` where the name is in use.
        """
        name, data, bundle = read_for(Path(path), name, self.manifest)
        with self._lock:
            self._store.add(name, data, bundle)
        return name

    def activate(self, name: str) -> None:
        """Make a loaded task the one that runs use. Raises TaskError `task.unknown`."""
        with self._lock:
            self._active = self._store.decoded(name)

    def deactivate(self) -> None:
        """Return to the base: runs give exactly what they gave before any task."""
        with self._lock:
            self._active = None

    def unload(self, name: str) -> None:
        """Forget a loaded task, and deactivate it if it is active."""
        with self._lock:
            self._store.remove(name)
            if self._active is not None and self._active.name == name:
                self._active = None
            self._stack = None

    @overload
    def run(self, inputs: Mapping[str, NDArray[Any]], task: Task = ACTIVE) -> Output: ...

    @overload
    def run(
        self, inputs: Mapping[str, NDArray[Any]], *, tasks: Sequence[str | None]
    ) -> MixedOutput: ...

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        task: Task = ACTIVE,
        *,
        tasks: Sequence[str | None] | None = None,
    ) -> Output | MixedOutput:
        """Run token `inputs` `[batch, tokens]`, or pictures, through the base with a task.

        `task` names a loaded task for this run only; None is the base alone; the default is the
        active task. `tasks` names one for each row instead (None: the base alone), and all rows
        go through in one pass (DeBERTa: a pass for each task). `attention_mask` defaults to ones,
        `token_type_ids` to zeros. Raises InputError, TaskError.
        """
        if tasks is None:
            return self._run(inputs, self._resolve(task))
        if task is not ACTIVE:
            raise InputError(Code.INPUT_TASKS, "give task or tasks, not both")
        return self._run_rows(*self._rows(inputs, tasks))

    def ask(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        task: str | Literal[_Active.TASK] = ACTIVE,
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
        task: str | Literal[_Active.TASK] = ACTIVE,
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
        task: str | Literal[_Active.TASK] = ACTIVE,
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
        task: str | Literal[_Active.TASK] = ACTIVE,
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
        task: str | Literal[_Active.TASK] = ACTIVE,
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
        task: str | Literal[_Active.TASK] = ACTIVE,
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

    def _resolve(self, task: Task) -> DecodedTask | None:
        if task is ACTIVE:
            return self._active  # one reference: whole, whatever other threads do
        if task is None:
            return None
        with self._lock:
            return self._store.decoded(task)

    def _needed(self, task: Task) -> DecodedTask:
        decoded = self._resolve(task)
        if decoded is None:
            raise TaskError(Code.TASK_NONE, "no task is active: activate one, or name it")
        return decoded

    def _needed_of(self, wanted: type[_Kind], task: Task) -> tuple[DecodedTask, _Kind]:
        decoded = self._needed(task)
        return decoded, expect_kind(decoded.name, decoded.head.kind, wanted)

    def _asked(self, decoded: DecodedTask) -> AskedTask:
        run = partial(self._logits, decoded=decoded)
        return AskedTask(decoded.name, decoded.labels, self._encoder, run)

    def _classify(
        self, inputs: Mapping[str, NDArray[Any]], task: Task, tasks: Sequence[str] | None
    ) -> list[Answer]:
        if tasks is None:
            decoded, kind = self._needed_of(Classifier, task)
            return kind.scored(decoded.labels, self._logits(inputs, decoded))
        if task is not ACTIVE:
            raise InputError(Code.INPUT_TASKS, "give task or tasks, not both")
        if any(name is None for name in tasks):
            raise TaskError(Code.TASK_NONE, "every text needs a task: name one for each")
        feeds, rows = self._rows(inputs, tasks)
        named = [row for row in rows if row is not None]
        kinds = [expect_kind(row.name, row.head.kind, Classifier) for row in named]
        found = []
        for kind, row, logits in zip(kinds, named, self._run_rows(feeds, rows).logits, strict=True):
            assert logits is not None
            found += kind.scored(row.labels, logits[None])
        return found

    def _logits(self, inputs: Mapping[str, NDArray[Any]], decoded: DecodedTask) -> Floats:
        output = self._run(inputs, decoded)
        assert output.logits is not None
        return output.logits

    def _run(self, inputs: Mapping[str, NDArray[Any]], decoded: DecodedTask | None) -> Output:
        feeds = base_inputs(self.manifest, inputs)
        hidden, pooled = self._forward(feeds, {} if decoded is None else decoded.feeds)
        if decoded is None:
            return Output(None, hidden, pooled, None)
        logits = apply_head(decoded.head, hidden, feeds.get("attention_mask"), pooled)
        return Output(decoded.name, hidden, pooled, logits)

    def _rows(
        self, inputs: Mapping[str, NDArray[Any]], tasks: Sequence[str | None]
    ) -> tuple[Mapping[str, NDArray[Any]], Rows]:
        """The checked inputs, and the task of each of their rows."""
        feeds = base_inputs(self.manifest, inputs)
        batch = len(feeds[self.manifest.inputs[0]])
        if isinstance(tasks, str) or len(tasks) != batch:
            raise InputError(
                Code.INPUT_TASKS,
                f"expected a list with the task of each of {batch} rows, found "
                + (f"a text: {shown(tasks)!r}" if isinstance(tasks, str) else f"{len(tasks)}"),
            )
        with self._lock:
            # Each name once: a cache smaller than the batch's tasks decodes none of them twice.
            ready = {
                name: self._store.decoded(name) for name in dict.fromkeys(tasks) if name is not None
            }
        return feeds, tuple(None if name is None else ready[name] for name in tasks)

    def _run_rows(self, feeds: Mapping[str, NDArray[Any]], rows: Rows) -> MixedOutput:
        if self.manifest.mixed_rows:
            hidden, pooled = self._forward(feeds, self._stacked(rows).feeds)
        else:
            hidden, pooled = task_by_task(rows, feeds, self._forward)
        logits = row_logits(rows, hidden, feeds.get("attention_mask"), pooled)
        names = tuple(None if row is None else row.name for row in rows)
        return MixedOutput(names, hidden, pooled, logits)

    def _stacked(self, rows: Rows) -> Stack:
        stacked = self._stack
        if stacked is None or not stacked.serves(rows):
            stacked = stack(rows)
            self._stack = stacked if stacked.nbytes <= self._cache_bytes else None
        return stacked

    def _forward(
        self, inputs: Mapping[str, NDArray[Any]], factors: Mapping[str, NDArray[Any]]
    ) -> tuple[Floats, Floats | None]:
        """Hidden states and, where the base has one, the pooler's output."""
        names = [self.manifest.hidden_output]
        if self.manifest.pooler_output is not None:
            names.append(self.manifest.pooler_output)
        try:
            results = self._ort.run(names, {**inputs, **factors})
        except Exception as error:  # onnxruntime's exceptions have no common base
            reason = shown(str(error), 200)
            raise InputError(Code.INPUT_RUN, f"onnxruntime refused the inputs: {reason}") from error
        hidden, pooled = results[0], results[1] if len(results) > 1 else None
        check_results(self.manifest, inputs[self.manifest.inputs[0]].shape, hidden, pooled)
        return hidden, pooled
