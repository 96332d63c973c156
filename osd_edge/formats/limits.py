"""The limits that a task bundle sets to names and sizes: facts that are known without numpy."""

import re

from osd_edge.errors import Code, InputError

TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_DIMENSION = 65_535  # n, d and k are stored in 16 bits
SLOTS_PER_BYTE = 128  # of a bundle: all that its factors, head and vectors have, zeros too


def task_name(text: str) -> str:
    """Gives `text` back if it may name a task; raises InputError `input.task-name`."""
    if not isinstance(text, str) or not TASK_NAME.fullmatch(text):
        raise InputError(
            Code.INPUT_TASK_NAME,
            f"expected a task name of up to 64 letters, digits, '.', '_' or '-', found {text!r}",
        )
    return text
