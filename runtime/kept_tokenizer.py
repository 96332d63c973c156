"""A base package's tokenizer as a session holds it: its file's bytes, until the first text."""

import hashlib
import secrets
import threading
from pathlib import Path
from typing import Any

from osd_edge.data.raised_by import raised_by
from osd_edge.errors import BaseError, Code, InputError, shown
from osd_edge.formats.package.manifest import TOKENIZER, BaseManifest, TextSettings
from osd_edge.formats.package.open_folder import OpenFolder
from osd_edge.formats.package.refusals import damaged


class KeptTokenizer:
    """The tokenizer of a base that is open, whatever becomes of its file.

    Reading takes longer than a short run, and sessions that are given token ids need none: so it
    waits for the first text. Safe to use from many threads.

    Attributes:
        lock: For whoever uses the tokenizer, which has the length it cuts to as a state.
    """

    def __init__(self, file: Path, data: bytes, settings: TextSettings | None) -> None:
        """Takes the file's name for messages, and its bytes; no settings where there is none."""
        self.lock = threading.Lock()
        self._file = file
        self._data = data
        self._settings = settings
        self._tokenizer: Any = None
        self._own_token: tuple[str, int] | None = None

    def read(self) -> tuple[Any, TextSettings]:
        """Gives the tokenizer, read at the first call.

        Raises InputError `input.tokenizers`, BaseError `base.text`.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise InputError(
                Code.INPUT_TOKENIZERS,
                "text needs the tokenizers package: pip install osd-edge[text]",
            ) from error
        if self._settings is None:
            raise BaseError(
                Code.BASE_TEXT,
                f"{self._file.parent} was exported from a model without a tokenizer: "
                "export it from one that has, or give token ids",
            )
        with self.lock:
            if self._tokenizer is None:
                try:
                    self._tokenizer = Tokenizer.from_buffer(self._data)
                    self._tokenizer.no_padding()  # its own could not be told from tokens
                except BaseException as error:  # bare Exception, and panics that are none
                    if not raised_by("tokenizers", error):
                        raise
                    reason = shown(str(error), 200)
                    raise BaseError(
                        Code.BASE_TEXT,
                        f"cannot read {self._file}: {reason}; copy the base package again",
                    ) from error
                self._data = b""
        return self._tokenizer, self._settings

    def own_token(self) -> tuple[str, int]:
        """Gives the text and id of a special token that no text of anybody's has.

        It has been added to the tokenizer, which gives it no room among the base's. Raises as
        `read` does.
        """
        tokenizer, _ = self.read()
        from tokenizers import AddedToken

        with self.lock:
            if self._own_token is None:
                text = f"<{secrets.token_hex(16)}>"
                tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True)])
                self._own_token = text, tokenizer.token_to_id(text)
        return self._own_token


def kept_tokenizer(folder: OpenFolder, manifest: BaseManifest) -> KeptTokenizer:
    """Takes the tokenizer of an open package; raises BaseError `base.file`, `base.digest`."""
    file = folder.path / TOKENIZER
    if manifest.text is None:
        return KeptTokenizer(file, b"", None)
    entry = manifest.files[TOKENIZER]
    data = folder.read(TOKENIZER, entry["bytes"])
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise damaged(file)
    return KeptTokenizer(file, data, manifest.text)
