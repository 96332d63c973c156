"""Keeps findings in a folder, each with its input, and says how one is repeated."""

import hashlib
from collections import Counter
from pathlib import Path

_MOST = 3  # inputs of one title


class Findings:
    """All findings of a run, by target and title."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder in which each target has one of its own."""
        self._folder = folder
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, target: str, title: str, detail: str, data: bytes) -> None:
        """Writes the input and the detail, and prints them, unless the title has enough inputs."""
        self.counts[target, title] += 1
        if self.counts[target, title] > _MOST:
            return
        folder = self._folder / target
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / digest_of(data)
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(f"{title}\n{detail}\n", "utf-8", "backslashreplace")
        print(f"FINDING {target}: {title}", flush=True)
        for line in detail.strip().splitlines()[-4:]:
            print(f"    {line[:300]}".encode(errors="backslashreplace").decode())
        print(f"    python -m fuzz replay {path}", flush=True)


def digest_of(data: bytes) -> str:
    """Names an input by its bytes."""
    return hashlib.sha256(data).hexdigest()[:16]
