"""A base package opened for a session: its manifest, its graph in onnxruntime, its tokenizer.

All of them are of one package, whatever happens to its folder meanwhile and afterwards.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from osd_edge.data.raised_by import raised_by
from osd_edge.errors import Code, InputError, shown
from osd_edge.formats.heads import Floats
from osd_edge.formats.package.graph_check import check_graph_file
from osd_edge.formats.package.manifest import MODEL, BaseManifest
from osd_edge.formats.package.manifest_reader import manifest_of
from osd_edge.formats.package.open_folder import OpenFolder, open_unchanged
from osd_edge.runtime.compact_rows import CompactRows, empty_past
from osd_edge.runtime.graph import Memory, check_graph, check_results, open_graph
from osd_edge.runtime.inputs import RunInputs, base_inputs
from osd_edge.runtime.kept_tokenizer import KeptTokenizer, kept_tokenizer
from osd_edge.runtime.weights_watch import WeightsWatch

# How its kernels say that a table of embeddings has no row for an input.
_BEYOND = re.compile(r"ind(?:ex|ices)\b.* out of (?:data bounds|range)")
Arrays = Mapping[str, NDArray[Any]]


class OpenBase:
    """One onnxruntime session over a base package, which is never rebuilt.

    Safe to use from many threads: a run changes nothing.
    """

    def __init__(self, folder: Path, threads: int, memory: Memory) -> None:
        """Opens the package in `folder`. Raises BaseError, InputError `input.memory`."""

        self.manifest: BaseManifest
        self.tokenizer: KeptTokenizer

        def open_it(held: OpenFolder) -> None:
            self.manifest = manifest_of(held)
            files = self.manifest.files
            weights = check_graph_file(held, MODEL, files)
            self._watches = [WeightsWatch(held, x, files[x]["sha256"]) for x in weights]
            self._ort = open_graph(
                held.root / MODEL,
                threads,
                memory,
                by_blocks=_by_blocks(self.manifest),
                named=folder / MODEL,
            )
            check_graph(self._ort, self.manifest, folder)
            self._how: ort.RunOptions | None = None
            if self.manifest.generation is not None:  # hidden states need no logits
                self._how = ort.RunOptions()
                self._how.only_execute_path_to_fetches = True
            self.tokenizer = kept_tokenizer(held, self.manifest)

        open_unchanged(folder, open_it)

    def checked(self, inputs: RunInputs) -> dict[str, NDArray[Any]]:
        """Checks inputs and fills in defaults, as the graph takes them. Raises InputError."""
        return base_inputs(self.manifest, inputs)

    def batch(self, feeds: Arrays) -> int:
        """The number of rows of checked inputs."""
        return len(feeds[self.manifest.inputs[0]])

    def forward(self, feeds: Arrays, factors: Arrays) -> tuple[Floats, Floats | None]:
        """Runs checked inputs with a task's factors, or with none.

        Gives hidden states `[batch, tokens, hidden]` and, where the base has a pooler, its output
        `[batch, hidden]`.
        """
        names = [self.manifest.hidden_output]
        if self.manifest.pooler_output is not None:
            names.append(self.manifest.pooler_output)
        compact = CompactRows.of(self.manifest, feeds)
        given = compact.feeds | empty_past(self.manifest, self.batch(feeds))
        results = self.results(names, {**given, **factors})
        # Copies, since results are in onnxruntime's memory: a session that is closed could not give
        # that back, and a forked process not free it.
        hidden = compact.back(results[0])
        pooled = results[1].copy() if len(results) > 1 else None
        check_results(self.manifest, feeds[self.manifest.inputs[0]].shape, hidden, pooled)
        return hidden, pooled

    def results(self, names: Sequence[str], feeds: Arrays) -> list[NDArray[Any]]:
        """Runs the graph as far as the outputs `names` need it.

        Raises InputError `input.run`; BaseError `base.file`, `base.digest` where the weights were
        written to since.
        """
        self.check_weights()
        with _refusals():
            found: list[NDArray[Any]] = self._ort.run(names, feeds, self._how)
        return found

    def binding(self) -> "Binding":
        """Gives a run whose inputs and outputs are bound to memory."""
        return Binding(self._ort, self.check_weights)

    def check_weights(self) -> None:
        """Refuses (BaseError) weights that were written to since they were opened."""
        for watch in self._watches:
            watch.check()


def _by_blocks(manifest: BaseManifest) -> bool:
    """Says whether the graph has weights for MatMulNBits; in int8 those of decoders alone."""
    decoder = manifest.generation is not None or manifest.padding == "right"
    return manifest.made.get("weights") in (("int4", "int8") if decoder else ("int4",))


class Binding:
    """A run of the graph over arrays that are bound once and keep their memory from run to run."""

    def __init__(self, session: ort.InferenceSession, check_weights: Callable[[], None]) -> None:
        """Binds nothing yet; `check_weights` is called before each run."""
        self._session = session
        self._check_weights = check_weights
        self._bound = session.io_binding()
        self._kept: dict[str, NDArray[Any]] = {}  # whose memory is bound

    def input(self, name: str, array: NDArray[Any]) -> None:
        """Binds an input to an array, which the run reads as it is then."""
        self._kept[name] = array
        self._bound.bind_input(name, "cpu", 0, array.dtype, array.shape, _address(array))

    def output(self, name: str, array: NDArray[Any]) -> None:
        """Binds an output to an array of its shape, which the run writes to."""
        self._kept[name] = array
        self._bound.bind_output(name, "cpu", 0, array.dtype, array.shape, _address(array))

    def run(self) -> None:
        """Runs the graph as far as the bound outputs need it.

        Raises InputError `input.run`, BaseError `base.file`, `base.digest`.
        """
        self._check_weights()
        with _refusals():
            self._session.run_with_iobinding(self._bound)


def _address(array: NDArray[Any]) -> int:
    assert array.flags.c_contiguous
    address: int = array.ctypes.data
    return address


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Makes onnxruntime's exceptions refusals of the inputs."""
    try:
        yield
    except Exception as error:  # onnxruntime's exceptions have no common base
        if not raised_by("onnxruntime", error):
            raise
        reason = shown(str(error), 200)
        if _BEYOND.search(str(error)):
            reason = (
                f"the base has no row for a token id, a token type or a position ({reason}): a "
                "tokenizer may have tokens that the model was not given, or the inputs are longer "
                "than the model takes"
            )
        raise InputError(Code.INPUT_RUN, f"onnxruntime refused the inputs: {reason}") from error
