"""Measures writing in a batch whose rows have a task each, beside as many rows of one task."""

import random
from statistics import median

from osd_edge.device_tests.gauges.samples import ratio_of, spread_of
from osd_edge.device_tests.gauges.writing import TimedAnswer, time_answers
from osd_edge.device_tests.job.sessions import KEEP_ALL_DECODED, open_session
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.device_tests.job.writing import prompts_of, writing_files
from osd_edge.device_tests.plan import SEED
from osd_edge.errors import Code, InputError

_ROWS = 8
_PROMPT = 32  # tokens: what is measured comes after it
_WARM_UP_ROUNDS = 1
# Weights over which products round what they take: a row alone is added up in another order than
# rows together, which moves a number to the next step, and now and then one token for another.
_ROUNDED = ("int8", "int4")


def run(job: Job, sheet: Sheet) -> None:
    """Writes `_ROWS` answers at once by as many tasks, by one task, and each alone."""
    session = open_session(job, cache_bytes=KEEP_ALL_DECODED)
    files = writing_files(job)[:_ROWS]
    prompts = [prompt[:_PROMPT] for prompt in prompts_of(job, _ROWS)]
    if not files:
        time_answers(session, prompts[:1], [None], 1)  # by which a base that writes none is refused
        raise InputError(Code.INPUT_OPTIONS, "no bundle is of a task that writes text: give one")
    for name, path in files:
        session.load(path, name)
    each: list[str | None] = [files[i % len(files)][0] for i in range(_ROWS)]
    one: list[str | None] = [files[0][0]] * _ROWS
    mixed = time_answers(session, prompts, each, job.answer_tokens)
    alone = [
        time_answers(session, [prompt], [task], job.answer_tokens).tokens[0]
        for prompt, task in zip(prompts, each, strict=True)
    ]
    equal = sum(a == b for a, b in zip(mixed.tokens, alone, strict=True))
    sheet.put("same_rows_count", equal)
    if session.manifest.made.get("weights", "fp32") not in _ROUNDED:
        message = f"rows of several tasks and row by row: {equal} of {_ROWS} answers are the same"
        sheet.check("same-as-rows", equal == _ROWS, message)
    sheet.put("rows_count", _ROWS)
    sheet.put("tasks_count", len(files))
    if not job.timed:
        return
    ways: dict[str, list[str | None]] = {"mixed": each, "one": one, "base": [None] * _ROWS}
    found: dict[str, list[TimedAnswer]] = {way: [] for way in ways}
    shuffle, order = random.Random(SEED).shuffle, list(ways)
    for round_ in range(_WARM_UP_ROUNDS + job.runs):
        shuffle(order)
        for way in order:
            answer = time_answers(session, prompts, ways[way], job.answer_tokens)
            if round_ >= _WARM_UP_ROUNDS:
                found[way].append(answer)
    steps = {way: [step for a in found[way] for step in _step_ms(a)] for way in ways}
    there = all(len(taken) == job.runs for taken in steps.values())
    why = "not available here: an answer ends at its first tokens"
    sheet.put("batch_ms", spread_of(steps["mixed"]) if there else None, why)
    sheet.put("single_task_batch_ms", spread_of(steps["one"]) if there else None, why)
    for name, way in (("to_single_task_ratio", "one"), ("to_base_ratio", "base")):
        sheet.put(name, ratio_of(steps["mixed"], steps[way]) if there else None, why)


def _step_ms(answer: TimedAnswer) -> list[float]:
    """The median of the steps that all rows took part in, where there are some.

    The first of them is left out: factors are stacked in it. Rows that end leave a batch.
    """
    together = answer.gaps_ms[1 : min(map(len, answer.tokens)) - 1]
    return [median(together)] if together else []
