"""The test vectors of the frozen bundle format: `python -m tests.compatibility.frozen_vectors`.

It adds the cases of `vectors/v1` that are not frozen yet, and refuses where one that is has another
file or another outcome.
"""

import hashlib
import json
import sys
from pathlib import Path

VECTORS = Path(__file__).parents[2] / "vectors" / "v1"
FROZEN = Path(__file__).parent / "frozen_vectors.json"

Outcome = dict[str, str]  # the digest of a case's file, and the code that it is refused with


def outcomes() -> dict[str, Outcome]:
    """Gives the digest and the code (empty for a valid case) of each case of the vectors."""
    cases = json.loads((VECTORS / "index.json").read_text("utf-8"))["cases"]
    return {
        case["id"]: {
            "sha256": hashlib.sha256((VECTORS / case["file"]).read_bytes()).hexdigest(),
            "code": case.get("code", ""),
        }
        for case in cases
    }


def frozen() -> dict[str, Outcome]:
    """Gives the cases that are frozen."""
    found: dict[str, Outcome] = json.loads(FROZEN.read_text("utf-8"))
    return found


def main() -> None:
    """Freezes the cases that are new."""
    before = frozen() if FROZEN.exists() else {}
    now = outcomes()
    changed = sorted(name for name in before if now.get(name) != before[name])
    if changed:
        sys.exit(f"frozen, and changed or gone: {', '.join(changed)}")
    FROZEN.write_text(json.dumps(now, indent=0) + "\n", "utf-8")
    print(f"{len(now)} cases are frozen, {len(now) - len(before)} of them new")


if __name__ == "__main__":
    main()
