"""EdgeSession: one onnxruntime session over one base, and tasks swapped in by what is fed."""

import enum
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from osd_edge.base_manifest import MODEL, PIXELS, BaseManifest, check_fits, read_manifest
from osd_edge.bundle import Bundle, task_name
from osd_edge.bundle_reader import read_bundle_file
from osd_edge.errors import BaseError, InputError, TaskError, shown
from osd_edge.heads import Floats, apply_head
from osd_edge.runtime.answering import Span, answer
from osd_edge.runtime.images import image_inputs, normalised
from osd_edge.runtime.tagging import Tag, tag
from osd_edge.runtime.task import DecodedTask, decode_task
from osd_edge.runtime.text import Answer, TextEncoder, answers, check_texts
from osd_edge.runtime.windows import Windows


class _Active(enum.Enum):
    TASK = "the active task"


ACTIVE = _Active.TASK


@dataclass(frozen=True)
class Output:
    """What a run gives: `hidden` `[batch, tokens, hidden]`, and the task's `logits`.

    `pooled` `[batch, hidden]` where the base has a pooler; `task` and `logits`
    `[batch, labels]` are None where no task was applied. Tasks that judge every token have logits
    `[batch, tokens, labels]`.
    """

    task: str | None
    hidden: Floats
    pooled: Floats | None
    logits: Floats | None


class EdgeSession:
    """Tasks over one base, in one onnxruntime session that is never rebuilt.

    Safe to use from many threads: a run has the task that was active when it began, whole,
    whatever other threads do meanwhile. Loaded tasks stay coded until they are used; decoded
    ones are kept, the latest used first, within `cache_bytes`.
    """

    def __init__(
        self, base: str | Path, *, threads: int = 0, cache_bytes: int = 64 * 2**20
    ) -> None:
        """Open base package `base` on `threads` threads (0: all cores). Raises BaseError."""
        self.folder = Path(base)
        self.manifest: BaseManifest = read_manifest(self.folder)
        self._ort = open_graph(self.folder / MODEL, threads)
        _check_graph(self._ort, self.manifest, self.folder)
        self._lock = threading.Lock()
        self._bundles: dict[str, Bundle] = {}
        self._decoded: OrderedDict[str, DecodedTask] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._active: DecodedTask | None = None
        self._encoders: dict[int | None, TextEncoder] = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the loaded tasks, in the order they were loaded."""
        with self._lock:
            return tuple(self._bundles)

    @property
    def active(self) -> str | None:
        """Name of the active task, None where there is none."""
        active = self._active
        return None if active is None else active.name

    def kind(self, name: str) -> str:
        """Kind of a loaded task: `labels`, `token-labels`, … as `osd_edge.heads` lists them."""
        with self._lock:
            return self._bundle(name).head.kind

    def labels(self, name: str) -> tuple[str, ...]:
        """Labels of a loaded task, in the order of its logits."""
        with self._lock:
            return self._bundle(name).labels

    def load(self, path: str | Path, name: str | None = None) -> str:
        """Check the bundle at `path` and keep it, coded; return the task's name.

        `name` replaces the name in the bundle. Raises BundleError where the file is damaged or
        made for another base, TaskError `task.taken` where the name is in use.
        """
        bundle = read_bundle_file(Path(path))
        check_fits(bundle, self.manifest)
        name = bundle.task if name is None else task_name(name)
        with self._lock:
            if name in self._bundles:
                raise TaskError("task.taken", f"a task {name!r} is loaded: unload it first")
            self._bundles[name] = bundle
        return name

    def activate(self, name: str) -> None:
        """Make a loaded task the one that runs use. Raises TaskError `task.unknown`."""
        with self._lock:
            self._active = self._decode(name)

    def deactivate(self) -> None:
        """Return to the base: runs give exactly what they gave before any task."""
        with self._lock:
            self._active = None

    def unload(self, name: str) -> None:
        """Forget a loaded task, and deactivate it if it is active."""
        with self._lock:
            self._bundle(name)
            if self._active is not None and self._active.name == name:
                self._active = None
            self._decoded.pop(name, None)
            del self._bundles[name]

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        task: str | Literal[_Active.TASK] | None = ACTIVE,
    ) -> Output:
        """Run token `inputs` `[batch, tokens]`, or pictures, through the base with a task.

        `task` names a loaded task for this run only; None is the base alone; the default is the
        active task. `attention_mask` defaults to ones, `token_type_ids` to zeros. Raises
        InputError, TaskError.
        """
        return self._forward(inputs, self._resolve(task))

    def classify(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        task: str | Literal[_Active.TASK] = ACTIVE,
        max_length: int | None = None,
    ) -> list[Answer]:
        """Label and scores of each text (or pair of texts), in one batch.

        For tasks of one label, several labels, or numbers. Needs the `tokenizers` package. Raises
        TaskError `task.none` without a task, `task.kind` for a task of another kind.
        """
        inputs = self.encode(texts, pairs, max_length=max_length)
        decoded = self._resolve_kind(task, "classify", "labels", "multi-label", "regression")
        return answers(decoded.labels, self._logits(inputs, decoded), decoded.head.kind)

    def classify_images(
        self, images: NDArray[Any], *, task: str | Literal[_Active.TASK] = ACTIVE
    ) -> list[Answer]:
        """As `classify`, of pictures `[batch, height, width, channels]`, integers 0 to 255.

        Pictures have the size that the base takes. Raises BaseError `base.image` too.
        """
        inputs = normalised(self.manifest, images)
        decoded = self._resolve_kind(task, "classify", "labels", "multi-label", "regression")
        return answers(decoded.labels, self._logits(inputs, decoded), decoded.head.kind)

    def tag(
        self,
        texts: Sequence[str],
        *,
        words: bool = False,
        task: str | Literal[_Active.TASK] = ACTIVE,
        max_length: int | None = None,
        stride: int = 128,
    ) -> list[list[Tag]]:
        """The tags of each text, by a task of the kind `token-labels`.

        Texts may be of any length: they go through in windows of `max_length` tokens, of which
        `stride` overlap. With `words` the first token of a word speaks for all of it. Raises as
        `classify` does.
        """
        check_texts(texts)
        decoded = self._resolve_kind(task, "tag", "token-labels")
        windows = Windows(self.folder, self.manifest, max_length, stride)
        run = partial(self._logits, decoded=decoded)
        return [tag(text, windows, run, decoded.labels, words=words) for text in texts]

    def answer(
        self,
        question: str,
        context: str,
        *,
        top: int = 1,
        max_tokens: int = 15,
        task: str | Literal[_Active.TASK] = ACTIVE,
        max_length: int | None = None,
        stride: int = 128,
    ) -> list[Span]:
        """The `top` likeliest answers in `context`, by a task of the kind `spans`.

        An answer has at most `max_tokens` tokens. The context may be of any length, as in `tag`.
        Raises as `classify` does.
        """
        decoded = self._resolve_kind(task, "answer", "spans")
        windows = Windows(self.folder, self.manifest, max_length, stride)
        run = partial(self._logits, decoded=decoded)
        return answer(question, context, windows, run, top=top, max_tokens=max_tokens)

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
        return self._logits(inputs, self._resolve_kind(task, "embed", "embedding"))

    def encode(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
    ) -> dict[str, NDArray[np.int64]]:
        """Token inputs for `run` from texts (or pairs of texts)."""
        encoder = self._encoders.get(max_length)
        if encoder is None:
            encoder = TextEncoder(self.folder, self.manifest, max_length)
            self._encoders[max_length] = encoder
        return encoder(texts, pairs)

    def _resolve(self, task: str | Literal[_Active.TASK] | None) -> DecodedTask | None:
        if task is ACTIVE:
            return self._active  # one reference: whole, whatever other threads do
        if task is None:
            return None
        with self._lock:
            return self._decode(task)

    def _resolve_kind(
        self, task: str | Literal[_Active.TASK], verb: str, *kinds: str
    ) -> DecodedTask:
        """The task, which must be of one of `kinds`: what the method `verb` is for."""
        decoded = self._resolve(task)
        if decoded is None:
            raise TaskError("task.none", "no task is active: activate one, or name it")
        if decoded.head.kind not in kinds:
            raise TaskError(
                "task.kind",
                f"{verb} is for tasks of the kind {', '.join(kinds)}; {decoded.name!r} is of the "
                f"kind {decoded.head.kind}",
            )
        return decoded

    def _logits(self, inputs: Mapping[str, NDArray[Any]], decoded: DecodedTask) -> Floats:
        output = self._forward(inputs, decoded)
        assert output.logits is not None
        return output.logits

    def _forward(self, inputs: Mapping[str, NDArray[Any]], decoded: DecodedTask | None) -> Output:
        feeds: dict[str, NDArray[Any]] = {}
        feeds |= (
            image_inputs(inputs)
            if self.manifest.inputs == (PIXELS,)
            else self._token_inputs(inputs)
        )
        mask = feeds.get("attention_mask")
        if decoded is not None:
            feeds |= decoded.feeds
        names = [self.manifest.hidden_output]
        if self.manifest.pooler_output is not None:
            names.append(self.manifest.pooler_output)
        try:
            results = self._ort.run(names, feeds)
        except Exception as error:  # onnxruntime's exceptions have no common base
            reason = shown(str(error), 200)
            raise InputError("input.run", f"onnxruntime refused the inputs: {reason}") from error
        hidden, pooled = results[0], results[1] if len(results) > 1 else None
        if decoded is None:
            return Output(None, hidden, pooled, None)
        return Output(decoded.name, hidden, pooled, apply_head(decoded.head, hidden, mask, pooled))

    def _bundle(self, name: str) -> Bundle:
        if name not in self._bundles:
            loaded = ", ".join(self._bundles) or "none"
            raise TaskError("task.unknown", f"no task {name!r} is loaded (loaded: {loaded})")
        return self._bundles[name]

    def _decode(self, name: str) -> DecodedTask:
        """The decoded task, from the cache or anew; the lock is held."""
        bundle = self._bundle(name)
        decoded = self._decoded.get(name)
        if decoded is None:
            decoded = self._decoded[name] = decode_task(name, bundle, self.manifest)
        self._decoded.move_to_end(name)
        while sum(d.nbytes for d in self._decoded.values()) > self._cache_bytes:
            self._decoded.popitem(last=False)
        return decoded

    def _token_inputs(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The base's own inputs as int64 `[batch, tokens]`, defaults filled in."""
        unknown = set(inputs) - set(self.manifest.inputs)
        ids = inputs.get("input_ids")
        if unknown or ids is None:
            raise InputError(
                "input.names",
                f"expected inputs {', '.join(self.manifest.inputs)}, found "
                f"{shown(', '.join(map(str, inputs)), 100)}",
            )
        feeds = {}
        for name in self.manifest.inputs:
            try:
                shape = np.shape(ids)
                if name in inputs:
                    array = np.asarray(inputs[name])
                else:
                    array = np.full(shape, int(name == "attention_mask"), np.int64)
            except ValueError as error:
                raise InputError("input.shape", f"{name} is ragged: {error}") from error
            if (
                array.ndim != 2
                or array.shape != shape
                or 0 in shape
                or array.dtype.kind not in "iu"
            ):
                raise InputError(
                    "input.shape",
                    f"{name}: expected integers [batch, tokens] like input_ids, "
                    f"found {array.dtype} {list(array.shape)}",
                )
            if array.min() < 0 or array.max() >= 2**31:
                raise InputError("input.shape", f"{name} holds numbers that are no token ids")
            feeds[name] = array.astype(np.int64, copy=False)
        return feeds


def _check_graph(session: ort.InferenceSession, manifest: BaseManifest, folder: Path) -> None:
    """Refuse (`base.graph`) a graph that is not the one that the manifest describes."""
    axes = 4 if manifest.inputs == (PIXELS,) else 2
    expected: dict[str, list[int | None]] = {name: [None] * axes for name in manifest.inputs}
    for site in manifest.sites:
        if site.u is not None and site.v is not None:
            expected[site.u] = [None, None, site.n]
            expected[site.v] = [None, site.d, None]
    found = {
        node.name: [size if isinstance(size, int) else None for size in node.shape]
        for node in (*session.get_inputs(), *session.get_overridable_initializers())
    }
    outputs = {node.name: node.type for node in session.get_outputs()}
    named = [manifest.hidden_output, manifest.pooler_output or manifest.hidden_output]
    hidden = session.get_outputs()[0]
    if (
        found != expected
        or any(outputs.get(name) != "tensor(float)" for name in named)
        or hidden.name != manifest.hidden_output
        or hidden.shape[2:] != [manifest.hidden_size]
    ):
        raise BaseError(
            "base.graph", f"{folder / MODEL} is not what its manifest describes: copy it again"
        )


def open_graph(path: Path, threads: int = 0) -> ort.InferenceSession:
    """An onnxruntime CPU session over the graph file `path`. Raises BaseError `base.graph`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a damaged graph comes to many kinds of exception
        reason = shown(str(error), 200)
        raise BaseError("base.graph", f"onnxruntime cannot open {path}: {reason}") from error
