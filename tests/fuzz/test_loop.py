"""The seeded loop: figures, inputs that are kept, and processes that end."""

from pathlib import Path

from fuzz.findings import Findings, digest_of
from fuzz.loop import FuzzPlan, Tally, run_target
from fuzz.targets.target import Target
from tests.fuzz.made_up import ENDING, SOUND


def run(target: Target, out: Path, inputs: int, processes: int = 1) -> tuple[Tally, Findings]:
    plan = FuzzPlan(None, inputs, processes, seed=1, out=out, javascript=False)
    findings = Findings(out / "findings")
    tally = Tally(target.name)
    run_target(target, plan, findings, tally)
    return tally, findings


def test_mutants_are_counted_by_code_and_what_is_new_is_kept(tmp_path: Path) -> None:
    tally, findings = run(SOUND, tmp_path, 200, processes=2)
    assert (tally.inputs, sum(tally.codes.values())) == (200, 200)
    assert set(tally.codes) == {"accepted", "bundle.head"} and not findings.counts
    kept = {path.read_bytes() for path in (tmp_path / "corpus" / "sound").iterdir()}
    assert kept == {b"bad", b"wrong"}
    assert not list(tmp_path.glob("findings/*"))


def test_equal_seeds_give_equal_mutants(tmp_path: Path) -> None:
    first, second = (run(SOUND, tmp_path / name, 100)[0] for name in ("a", "b"))
    assert first.codes == second.codes


def test_an_input_that_ends_the_process_is_found_and_the_rest_is_done(tmp_path: Path) -> None:
    tally, findings = run(ENDING, tmp_path, 40)
    ((target, title), count) = findings.counts.most_common()[0]
    assert (target, title) == ("ending", "the process ended: signal 9")
    assert 1 <= count < 10
    path = tmp_path / "findings" / "ending" / digest_of(b"ends")
    assert path.read_bytes() == b"ends"
    assert tally.codes["accepted"] > 0 and tally.codes["a finding"] == count
