"""`python -m release -o dist`: build the committed state twice, compare, check and try it out."""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release.artifacts import build
from release.trial import try_out

PROJECT = Path(__file__).parents[1]


def main() -> None:
    """Leave the release in the folder OUT, or end with the step that failed."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("dist"), help="where it goes")
    out = parser.parse_args().out
    changed = _git("status", "--porcelain")
    if changed:
        sys.exit(f"a release is of a commit: commit or put away what is changed\n{changed}")
    if out.exists() and any(out.iterdir()):
        sys.exit(f"{out} holds files already: remove them, or name another folder with -o")
    commit = _git("rev-parse", "HEAD")
    with tempfile.TemporaryDirectory() as scratch:
        builds = [Path(scratch, name) for name in ("first", "second")]
        for folder in builds:
            print(f"building {commit[:12]} ({folder.name} time)", flush=True)
            version = build(PROJECT, commit, folder)
        digests, again = map(_digests, builds)
        if digests != again:
            differ = sorted(name for name in digests if digests[name] != again.get(name))
            sys.exit(f"built twice, these differ: {', '.join(differ)}")
        print(f"osd-edge {version}: {len(digests)} files, built twice with equal digests")
        files = builds[0]
        packed = [*files.glob("*.whl"), *files.glob("*.tar.gz")]
        subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *packed], check=True)
        for line in try_out(files, PROJECT / "constraints.txt", Path(scratch, "trial")):
            print(line, flush=True)
        sums = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
        (files / "SHA256SUMS").write_text(sums, "utf-8")
        shutil.copytree(files, out, dirs_exist_ok=True)
    print(f"{sums}in {out}")


def _digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=PROJECT, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
