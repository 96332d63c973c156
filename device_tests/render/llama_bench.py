"""Writes what a report says of generated text as lines that llama-bench's readers take.

llama-bench of llama.cpp prints a line of JSON for each test with `-o jsonl`, and scripts compare
such files. Its fields that have no meaning here hold what it prints for a plain run on a processor.
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from osd_edge.device_tests.render.figures import number_of, scenario_of
from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.schema import Report, Row

_OTHERS: dict[str, Any] = {
    "build_number": 0,
    "gpu_info": "",
    "backends": "CPU",
    "n_batch": 512,
    "n_ubatch": 512,
    "cpu_mask": "0x0",
    "cpu_strict": False,
    "poll": 0,
    "type_k": "f32",
    "type_v": "f32",
    "n_gpu_layers": 0,
    "split_mode": "none",
    "main_gpu": 0,
    "no_kv_offload": False,
    "flash_attn": False,
    "tensor_split": "0.00",
    "tensor_buft_overrides": "none",
    "use_mmap": True,
    "embeddings": False,
    "no_op_offload": 0,
}


def to_llama_bench(report: Report) -> str:
    """Writes a line of JSON for each prompt and for each answer, by no task and by each task.

    Args:
        report: A report, as `measure` or `read_report` gives it.

    Returns:
        JSON lines with the fields of `llama-bench -o jsonl`; empty where no text was generated, or
        times are withheld. `n_prompt` tokens of a prompt to its answer's first token, or `n_gen`
        further tokens after a prompt of `n_depth`. A task stands behind the base's name.

    Raises:
        ReportError: It is no report, or breaks a rule of reports.

    Example:
        >>> from osd_edge.device_tests import read_report
        >>> from osd_edge.device_tests import to_llama_bench
        >>> to_llama_bench(read_report("report.json"))
        ''
    """
    check_report(report)
    return "".join(json.dumps(line) + "\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[dict[str, Any]]:
    scenario, base = scenario_of(report, "generate"), report["base"]
    if scenario is None or base is None:
        return
    prompt, plan = int(number_of(scenario, "prompt_count") or 0), report["plan"]
    for row in scenario["rows"]:
        task = row["of"].get("task")
        name = base["name"] if task is None else f"{base['name']}+{task}"
        same = {
            "build_commit": report["tool"]["version"],
            "cpu_info": report["machine"].get("processor") or "",
            "model_filename": name,
            "model_type": f"{base['family']} {name}",
            "model_size": base["file_bytes"],
            "model_n_params": None,
            "n_threads": plan.get("threads"),
            "test_time": report["created"],
            **_OTHERS,
        }
        answer = int(plan.get("answer_tokens", 0)) - 1  # the first one is the prompt's
        for samples, n_prompt, n_gen in (
            (_samples(row, "first_token_ms"), prompt, 0),
            (_samples(row, "answer_ms"), 0, answer),
        ):
            if samples:
                depth = prompt if n_gen else 0
                counts = {"n_prompt": n_prompt, "n_gen": n_gen, "n_depth": depth}
                yield same | counts | _summed_up(samples, n_prompt + n_gen)


def _samples(row: Row, name: str) -> list[int]:
    """The samples of a figure in nanoseconds."""
    figure = row["figures"].get(name)
    found = figure.get("samples", []) if isinstance(figure, dict) else []
    return [max(1, round(1e6 * sample)) for sample in found]


def _summed_up(samples: Sequence[int], tokens: int) -> dict[str, Any]:
    rates = [1e9 * tokens / sample for sample in samples]
    (mean, deviation), (rate, rate_deviation) = _mean(samples), _mean(rates)
    return {
        "avg_ns": round(mean),
        "stddev_ns": round(deviation),
        "avg_ts": rate,
        "stddev_ts": rate_deviation,
        "samples_ns": list(samples),
        "samples_ts": rates,
    }


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the standard deviation of the sample as llama-bench has it."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, 0.0
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
