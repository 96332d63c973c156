"""LoRAs of the demonstration: trained on completions alone, and read by PEFT and by exports."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from osd_edge.exporters import export_task
from osd_edge.exporters.demo.writing.lora import Lora
from osd_edge.exporters.demo.writing.tasks import Written
from osd_edge.exporters.demo.writing.train import LoraTrainer, LoraTraining
from osd_edge.runtime import EdgeSession
from tests.support.writers import Writer

ROWS = [
    Written("<|im_start|>the cat\n", "sat on the mat"),
    Written("<|im_start|>a dog\n", "ran under the bird"),
]
FEW = LoraTraining(steps=40, batch=2, rate=2e-2)


@pytest.fixture(scope="module")
def trained(tiny_llama: Writer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A LoRA that knows two rows, and its losses."""
    out = tmp_path_factory.mktemp("lora") / "rows"
    return out, LoraTrainer(tiny_llama.model).train(ROWS, out, FEW)


def test_the_loss_goes_down(trained: tuple[Path, Any]) -> None:
    _, losses = trained
    assert len(losses) == FEW.steps and losses[-1] < 0.05 < 1 < losses[0]


def test_a_session_writes_what_was_trained(
    tiny_llama: Writer, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    """The whole LoRA as a bundle: prompts, completions and stop token are the runtime's own."""
    out = tmp_path / "rows.osd.safetensors"
    adapters = ((trained[0], 1.0),)
    export_task(
        tiny_llama.model, None, out, adapters=adapters, method="truncsvd", budget=f"r={FEW.rank}"
    )
    session = EdgeSession(tiny_llama.package)
    session.activate(session.load(out))
    answers = session.generate([row.prompt for row in ROWS])
    assert [answer.text for answer in answers] == [row.completion for row in ROWS]
    assert {answer.ended for answer in answers} == {"stop"}


def test_peft_reads_it_as_it_was_trained(tiny_llama: Writer, tmp_path: Path) -> None:
    model = tiny_llama.torch()
    ids = torch.tensor([[1, 20, 30, 40, 50]])
    torch.manual_seed(0)
    lora = Lora(model, rank=4, alpha=6.0)
    before = model(ids).logits
    with torch.no_grad():
        for factor in lora.parameters:
            factor.add_(torch.randn_like(factor) * 0.1)
        with lora.applied():
            ours = model(ids).logits
    assert torch.equal(model(ids).logits, before)  # its own layers again
    lora.save(tmp_path)
    theirs = PeftModel.from_pretrained(tiny_llama.torch(), tmp_path).eval()(ids).logits
    assert float((ours - before).detach().abs().max()) > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_loss_is_of_the_completion_and_the_token_that_ends_it(tiny_llama: Writer) -> None:
    trainer = LoraTrainer(tiny_llama.model)
    row = trainer._tokens(ROWS[0])
    tokenizer = tiny_llama.tokenizer()
    completion = tokenizer(ROWS[0].completion).input_ids
    assert row.ids == (*tokenizer(ROWS[0].prompt).input_ids, *completion, 2)
    with torch.no_grad():
        loss = float(trainer._loss([row]))
        logits = tiny_llama.torch()(torch.tensor([row.ids])).logits[0]
    said = range(row.prompt, len(row.ids))
    told = [float(torch.log_softmax(logits[at - 1], -1)[row.ids[at]]) for at in said]
    assert loss == pytest.approx(-sum(told) / len(told), rel=1e-4)


def test_padding_changes_no_loss(tiny_llama: Writer) -> None:
    trainer = LoraTrainer(tiny_llama.model)
    short, long = (trainer._tokens(row) for row in (Written("on\n", "the"), ROWS[1]))
    with torch.no_grad():
        apart = [float(trainer._loss([row])) for row in (short, long)]
        together = float(trainer._loss([short, long]))
    weights = [len(row.ids) - row.prompt for row in (short, long)]
    mean = sum(x * w for x, w in zip(apart, weights, strict=True)) / sum(weights)
    assert together == pytest.approx(mean, rel=1e-4)


def test_the_seed_decides_the_weights(tiny_llama: Writer, tmp_path: Path) -> None:
    trainer = LoraTrainer(tiny_llama.model)
    state = torch.random.get_rng_state()
    losses = [
        trainer.train(ROWS, tmp_path / str(i), LoraTraining(seed, steps=3, batch=1))
        for i, seed in enumerate((0, 0, 1))
    ]
    files = [(tmp_path / str(i) / "adapter_model.safetensors").read_bytes() for i in range(3)]
    assert files[0] == files[1] != files[2] and losses[0] == losses[1]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_rate_goes_up_and_then_down_to_nothing() -> None:
    training = LoraTraining(steps=100, rate=1.0, warm_up=0.1)
    rates = [training.rate_at(step) for step in range(100)]
    assert max(rates) == rates[10] == 1.0 and rates[0] == 0.1
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01
