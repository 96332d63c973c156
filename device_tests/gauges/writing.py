"""Times answers as they are written: the first token, then each of the others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from osd_edge.device_tests.gauges.rounds import no_garbage_collection
from osd_edge.device_tests.gauges.samples import spread_of
from osd_edge.device_tests.job.sheet import Sheet
from osd_edge.runtime import EdgeSession


@dataclass(frozen=True)
class TimedAnswer:
    """One call that wrote answers: when its first tokens came, and how long each step took.

    `first_ms` is from the call to the first token, `gaps_ms` from a step's tokens to the next
    one's; `first_cpu_ms` and `cpu_ms` are the processor time of the one, and of the others
    together. `tokens` are the answers', a list for each row.
    """

    first_ms: float
    gaps_ms: tuple[float, ...]
    first_cpu_ms: float
    cpu_ms: float
    tokens: list[list[int]]

    @property
    def others_ms(self) -> float:
        """Milliseconds of all steps after the first."""
        return sum(self.gaps_ms)


def time_answers(
    session: EdgeSession, prompts: Sequence[list[int]], tasks: Sequence[str | None], count: int
) -> TimedAnswer:
    """Writes at most `count` tokens after each of the prompts, each by its task, and times them."""
    tokens: list[list[int]] = [[] for _ in prompts]
    times: list[int] = []
    with no_garbage_collection():
        start = time.perf_counter_ns()
        cpu = first_cpu = time.process_time_ns()
        for piece in session.generate(prompts, tasks=tasks, max_tokens=count, stream=True):
            if not piece.tokens:
                continue
            tokens[piece.row].extend(piece.tokens)
            if len(tokens[piece.row]) > len(times):
                times.append(0)
            times[-1] = time.perf_counter_ns()  # a step is over with its last row's token
            if len(times) == 1:
                first_cpu = time.process_time_ns()
        done_cpu = time.process_time_ns()
    gaps = tuple((b - a) / 1e6 for a, b in pairwise(times))
    first = (times[0] if times else time.perf_counter_ns()) - start
    cpus = ((first_cpu - cpu) / 1e6, (done_cpu - first_cpu) / 1e6)
    return TimedAnswer(first / 1e6, gaps, *cpus, tokens)


def put_writing(sheet: Sheet, answers: Sequence[TimedAnswer], prompt: int, count: int) -> None:
    """Notes what answers to prompts of `prompt` tokens took; `count` tokens make a whole one."""
    firsts = [answer.first_ms for answer in answers]
    sheet.put("first_token_ms", spread_of(firsts, keep=True))
    sheet.put("first_token_cpu_ms", spread_of([answer.first_cpu_ms for answer in answers]))
    sheet.put("prompt_tokens_per_s", spread_of([1e3 * prompt / first for first in firsts]))
    gaps = [gap for answer in answers for gap in answer.gaps_ms]
    if not gaps:
        for name in ("token_ms", "token_cpu_ms", "tokens_per_s", "answer_ms"):
            sheet.put(name, None, "not available here: the answer ends at its first token")
        return
    going_on = [answer for answer in answers if answer.gaps_ms]
    sheet.put("token_ms", spread_of(gaps))
    sheet.put("token_cpu_ms", spread_of([a.cpu_ms / len(a.gaps_ms) for a in going_on]))
    sheet.put("tokens_per_s", spread_of([1e3 * len(a.gaps_ms) / a.others_ms for a in going_on]))
    whole = [answer.others_ms for answer in going_on if len(answer.gaps_ms) == count - 1]
    why = "not available here: the answer ends before so many tokens"
    sheet.put("answer_ms", spread_of(whole, keep=True) if whole else None, why)
