"""Measures writing: the first token cold, warm and after a swap, and each of the others.

No task and the tasks write in the same rounds. A prompt is made up, so what is written is of no
interest, only that it is the same every time.
"""

import random
import time
from pathlib import Path

from osd_edge.device_tests.gauges.memory import put_memory
from osd_edge.device_tests.gauges.samples import ratio_of, spread_of
from osd_edge.device_tests.gauges.writing import TimedAnswer, put_writing, time_answers
from osd_edge.device_tests.job.sessions import KEEP_ALL_DECODED, open_session
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.device_tests.job.writing import prompts_of, writing_bundles
from osd_edge.device_tests.plan import SEED
from osd_edge.runtime import EdgeSession

_MOST_TASKS = 4  # in one round
_WARM_UP_ROUNDS = 1


def run(job: Job, sheet: Sheet) -> None:
    """Notes the figures of the first task that writes, or of no task, and a row of each."""
    start = time.perf_counter_ns()
    session = open_session(job, cache_bytes=KEEP_ALL_DECODED)
    opened = (time.perf_counter_ns() - start) / 1e6
    (prompt,) = prompts_of(job, 1)
    tasks = writing_bundles(job)[:_MOST_TASKS]
    first = tasks[0][0] if tasks else None
    for name, path in tasks:
        session.load(path, name)
    cold = time_answers(session, [prompt], [first], job.answer_tokens)
    put_memory(sheet)
    sheet.put("session_ms", opened)
    sheet.put("first_token_cold_ms", cold.first_ms)
    sheet.put("first_token_cold_cpu_ms", cold.first_cpu_ms)
    sheet.put("prompt_count", len(prompt))
    sheet.put("tokens_count", len(cold.tokens[0]))
    again = time_answers(session, [prompt], [first], job.answer_tokens)
    sheet.check(
        "same-again", again.tokens == cold.tokens, "a prompt that comes again gets the same answer"
    )
    if not job.timed:
        return
    names = [None, *(name for name, _ in tasks)]
    answers = _rounds(session, prompt, names, job)
    whole = job.answer_tokens
    put_writing(sheet, answers[first], len(prompt), whole)
    put_writing(sheet.add_row(way="no task"), answers[None], len(prompt), whole)
    for name, _ in tasks:
        row = sheet.add_row(task=name)
        put_writing(row, answers[name], len(prompt), whole)
        _put_ratios(row, answers[name], answers[None])
    if tasks:
        _put_after_swap(sheet, session, prompt, tasks, job)


def _rounds(
    session: EdgeSession, prompt: list[int], names: list[str | None], job: Job
) -> dict[str | None, list[TimedAnswer]]:
    """Writes by each of the tasks once in every round, in shuffled order."""
    answers: dict[str | None, list[TimedAnswer]] = {name: [] for name in names}
    shuffle, order = random.Random(SEED).shuffle, list(names)
    begun, rounds = time.perf_counter(), -_WARM_UP_ROUNDS
    while rounds < job.runs or time.perf_counter() - begun < job.seconds:
        shuffle(order)
        for name in order:
            answer = time_answers(session, [prompt], [name], job.answer_tokens)
            if rounds >= 0:
                answers[name].append(answer)
        rounds += 1
    return answers


def _put_ratios(row: Sheet, answers: list[TimedAnswer], of_base: list[TimedAnswer]) -> None:
    """Notes the cost of a task over none: of a prompt, and of each token after it."""
    firsts = ([a.first_ms for a in answers], [a.first_ms for a in of_base])
    row.put("first_token_to_base_ratio", ratio_of(*firsts))
    both = [(a, b) for a, b in zip(answers, of_base, strict=True) if a.gaps_ms and b.gaps_ms]
    for name, of in (("token_to_base_ratio", _token_ms), ("token_cpu_to_base_ratio", _token_cpu)):
        ratio = ratio_of([of(a) for a, _ in both], [of(b) for _, b in both]) if both else None
        row.put(name, ratio, "not available here: an answer ends at its first token")


def _token_ms(answer: TimedAnswer) -> float:
    return answer.others_ms / len(answer.gaps_ms)


def _token_cpu(answer: TimedAnswer) -> float:
    return answer.cpu_ms / len(answer.gaps_ms)


def _put_after_swap(
    sheet: Sheet, session: EdgeSession, prompt: list[int], tasks: list[tuple[str, Path]], job: Job
) -> None:
    """Times swaps from a task's file, and the first token that follows."""
    swaps, cpus, firsts = [], [], []
    for number in range(job.runs):
        name, path = tasks[number % len(tasks)]
        session.unload(name)
        start, cpu = time.perf_counter_ns(), time.process_time_ns()
        session.load(path, name)
        session.activate(name)
        swaps.append((time.perf_counter_ns() - start) / 1e6)
        cpus.append((time.process_time_ns() - cpu) / 1e6)
        firsts.append(swaps[-1] + time_answers(session, [prompt], [name], 1).first_ms)
    sheet.put("cold_ms", spread_of(swaps))
    sheet.put("cold_cpu_ms", spread_of(cpus))
    sheet.put("first_token_after_swap_ms", spread_of(firsts))
