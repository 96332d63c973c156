"""Tasks in stock onnxruntime-genai by its `Adapters`: a session's tokens, whatever was swapped."""

from pathlib import Path
from typing import Any

import pytest

from osd_edge.exporters import export_base, export_task
from osd_edge.runtime import EdgeSession
from tests.support import decoders
from tests.support.stock_genai import Stock, adapters_of, library, prompts, same, tokens_of

COUNT = 10
SWAPS = (None, "whole", "part", "whole", None, "part", None)


@pytest.fixture(scope="module", autouse=True)
def genai() -> Any:
    return library()


@pytest.fixture(scope="module", params=["llama", "phi"])
def tasks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and two tasks of it: `whole` has a delta at every site, `part` at two of a layer."""
    folder = tmp_path_factory.mktemp(request.param)
    base = decoders.make_decoder(request.param, folder / "base")
    # One of packed layers, and one that stands alone.
    few = {"llama": ["k_proj", "down_proj"], "phi": ["k_proj", "fc2"]}[request.param]
    for seed, (name, chosen) in enumerate({"whole": {}, "part": {"target_modules": few}}.items()):
        lora = decoders.make_lora(base, folder / name, seed=seed, **chosen)
        out = folder / f"{name}.osd.safetensors"
        export_task(
            base, None, out, adapters=[(lora, 1.0)], method="truncsvd", values="fp16", budget="r=4"
        )
    return folder


@pytest.fixture(params=["fp32", "int4", "fp16-factors"])
def opened(
    request: pytest.FixtureRequest, tasks: Path, tmp_path: Path
) -> tuple[EdgeSession, Stock, Path]:
    """The session and genai over one package, each with both tasks."""
    package = tmp_path / "package"
    how = {"factors": "fp16"} if request.param == "fp16-factors" else {"weights": request.param}
    export_base(tasks / "base", package, task="generate", **how)
    bundles = {name: tasks / f"{name}.osd.safetensors" for name in ("whole", "part")}
    session = EdgeSession(package, threads=1)
    for bundle in bundles.values():
        session.load(bundle)
    return session, Stock(package, adapters_of(package, bundles, tmp_path)), package


def test_tasks_are_swapped_and_left(opened: tuple[EdgeSession, Stock, Path]) -> None:
    session, stock, package = opened
    answers: dict[str | None, list[tuple[int, ...]]] = {}
    for prompt in prompts(package):
        for task in SWAPS:
            (answer,) = session.generate([prompt], task=task, max_tokens=COUNT)
            assert same(stock.answer(prompt, COUNT, task), answer, session)
            answers.setdefault(task, []).append(answer.tokens)
    assert answers["whole"] != answers["part"] != answers[None] != answers["whole"]


def test_a_generator_that_was_rewound_takes_another_task_whole(
    opened: tuple[EdgeSession, Stock, Path],
) -> None:
    """genai adds the second adapter to the first: of a name in both it takes the second's."""
    session, stock, package = opened
    prompt = prompts(package)[2]
    generator = stock.generator(len(prompt) + COUNT)
    for task in ("whole", "part", "whole"):
        generator.rewind_to(0)
        generator.set_active_adapter(stock.adapters, task)
        generator.append_tokens(prompt)
        (answer,) = session.generate([prompt], task=task, max_tokens=COUNT)
        assert same(list(tokens_of(generator, COUNT)), answer, session)


def test_a_swap_in_the_middle_of_an_answer_is_let_through(
    opened: tuple[EdgeSession, Stock, Path],
) -> None:
    """Keys of the first task stay, and nothing says so: docs/adapters.md warns of it."""
    _, stock, package = opened
    prompt = prompts(package)[1]
    generator = stock.generator(len(prompt) + 2 * COUNT)
    generator.set_active_adapter(stock.adapters, "whole")
    generator.append_tokens(prompt)
    begun = list(tokens_of(generator, 1))
    generator.set_active_adapter(stock.adapters, "part")
    mixed = generator.get_logits()
    own = stock.generator(len(prompt) + 2 * COUNT)
    own.set_active_adapter(stock.adapters, "part")
    own.append_tokens([*prompt, *begun])
    assert abs(mixed - own.get_logits()).max() > 1e-3
