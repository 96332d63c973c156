"""Looks at a tokenizer's files: whether there are any, and why they do not make a tokenizer."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.unreadable import LFS_POINTER, first_line, is_lfs_pointer
from osd_edge.formats.package.manifest import TOKENIZER

TOKENIZER_CONFIG = "tokenizer_config.json"
_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model")
# Files with a vocabulary, by what reads them besides transformers: a module, and what to install.
_READERS = {
    **dict.fromkeys(_SENTENCEPIECE, ("sentencepiece", "sentencepiece protobuf")),
    "*.tiktoken": ("tiktoken", "tiktoken blobfile"),
    "tekken.json": ("mistral_common", "mistral-common"),
}
_VOCABULARIES = (TOKENIZER, "vocab.txt", "vocab.json", "bpe.codes", *_READERS)
# Files that only come with a vocabulary.
_OTHERS = (TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json", "merges.txt")
_OWN_CODE = "brings code of its own (auto_map), which is never run"
_FEWEST = 4  # tokens besides special ones: transformers makes up to two of no vocabulary at all
# Texts that show what a reading of SentencePiece's model leaves out: blanks, forms of letters,
# what is in no vocabulary.
_PROBES = ("the cat sat on a mat", " two  blanks", "a\nb\tc", "The Cät № ﬁ, 12½", "東京 mat!")


def has_tokenizer(folder: Path) -> bool:
    """Says whether a tokenizer's files are in `folder`.

    Raises ModelError `model.tokenizer` where there are some, and no vocabulary among them: newer
    versions of transformers make a tokenizer of five tokens of that.
    """
    if next(_present(folder, _VOCABULARIES), None) is not None:
        return True
    left = next(_present(folder, _OTHERS), None)
    if left is None:
        return False
    own = f" ({_OWN_CODE})" if _has_own_code(folder / TOKENIZER_CONFIG) else ""
    raise ModelError(
        Code.MODEL_TOKENIZER,
        f"{folder} has {left.name} and no vocabulary{own}: expected {TOKENIZER}, vocab.txt, "
        "vocab.json or a model of SentencePiece: copy the tokenizer's files from the base",
    )


def why_no_tokenizer(folder: Path, error: BaseException) -> str:
    """The reason why the files in `folder` make no tokenizer, and what to do about it."""
    for path in _present(folder, (*_VOCABULARIES, *_OTHERS)):
        if is_lfs_pointer(path):
            return f"{path.name} is {LFS_POINTER}"
    missing = _missing_reader(folder)
    if missing is not None:
        return missing
    why = f"it {_OWN_CODE}" if _has_own_code(folder / TOKENIZER_CONFIG) else first_line(error)
    return f"{why}; save it again with AutoTokenizer's save_pretrained"


def check_vocabulary(folder: Path, tokenizer: Any) -> None:
    """Refuse (`model.tokenizer`) a tokenizer of special tokens alone.

    Transformers makes one of a class that does not read the vocabulary in `folder`.
    """
    own = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    if len(own) < _FEWEST:
        found = next(_present(folder, _VOCABULARIES))
        why = _missing_reader(folder) or (
            f"{found.name} is empty, or of another kind than the model's type reads: copy the "
            "tokenizer's files from the base"
        )
        raise ModelError(
            Code.MODEL_TOKENIZER, f"the tokenizer in {folder} has no vocabulary: {why}"
        )


def check_sentencepiece(folder: Path, tokenizer: Any, *, begins: bool) -> None:
    """Refuse (`model.tokenizer`) other tokens than those of SentencePiece's model in `folder`.

    Transformers 5 reads such a model, where no file of its own is there, for many classes without
    all that it does. Where text `begins` with a token of its own, that must be there too.
    """
    found = None if (folder / TOKENIZER).is_file() else next(_present(folder, _SENTENCEPIECE), None)
    if found is None or find_spec("sentencepiece") is None:
        return
    own = import_module("sentencepiece").SentencePieceProcessor(model_file=str(found))
    backend = tokenizer.backend_tokenizer
    same = all(
        backend.encode(text, add_special_tokens=False).tokens == own.encode(text, out_type=str)
        for text in _PROBES
    )
    if same and (not begins or tokenizer(_PROBES[0])["input_ids"][0] == tokenizer.bos_token_id):
        return
    raise ModelError(
        Code.MODEL_TOKENIZER,
        f"transformers 5 makes other tokens of {found} than the model was trained with: where "
        "transformers 4.57 and sentencepiece are installed, save it with AutoTokenizer's "
        f"save_pretrained, which writes {TOKENIZER}",
    )


def _missing_reader(folder: Path) -> str | None:
    """The package to install for the vocabulary in `folder`; None where it is not that."""
    if (folder / TOKENIZER).is_file():
        return None
    for pattern, (module, packages) in _READERS.items():
        path = next(_present(folder, (pattern,)), None)
        if path is not None and find_spec(module) is None:
            return f"{path.name} is read by a package that is missing: pip install {packages}"
    return None


def _present(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from (path for path in sorted(folder.glob(pattern)) if path.is_file())


def _has_own_code(config: Path) -> bool:
    try:
        return b'"auto_map"' in config.read_bytes()
    except OSError:
        return False
