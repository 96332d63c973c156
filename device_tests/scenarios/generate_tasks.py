"""Measures many loaded tasks that write: memory as they are loaded, and a first token by the last.

Tasks are loaded coded; only what writes is decoded, and the session keeps as many decoded ones as
it does by itself.
"""

from osd_edge.device_tests.gauges.memory import MemoryUse, put_memory
from osd_edge.device_tests.gauges.writing import time_answers
from osd_edge.device_tests.job.sessions import open_session
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.device_tests.job.writing import prompts_of, writing_files

_COUNTS = (1, 20, 1000)  # of tasks at which figures are taken, and at the plan's own
_PROMPT, _ANSWER = 32, 4  # tokens


def run(job: Job, sheet: Sheet) -> None:
    """Loads a task after another; at some counts of them the last one writes."""
    session = open_session(job)
    prompt = prompts_of(job, 1)[0][:_PROMPT]
    time_answers(session, [prompt], [None], _ANSWER)
    start = put_memory(sheet.add_row(tasks=0))
    files = writing_files(job)
    counts = {count for count in (*_COUNTS, len(files)) if count <= len(files)}
    use = start
    for number, (name, path) in enumerate(files, start=1):
        session.load(path, name)
        if number in counts:
            answer = time_answers(session, [prompt], [name], _ANSWER)
            row = sheet.add_row(tasks=number)
            row.put("first_token_ms", answer.first_ms)
            use = put_memory(row)
    put_memory(sheet)
    sheet.put("fitting_count", len(session.tasks))
    sheet.put("wanted_count", len(files))
    added = None if use is None or start is None else _own(use) - _own(start)
    sheet.put("per_task_bytes", None if added is None or not files else added / len(files))
    sheet.check(
        "all-loaded",
        len(session.tasks) == len(files),
        f"{len(session.tasks)} of {len(files)} tasks loaded",
    )


def _own(use: MemoryUse) -> int:
    return use.pss or use.rss or 0
