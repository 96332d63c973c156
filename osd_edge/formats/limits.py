"""The limits that a task bundle sets to names and sizes: facts that are known without numpy."""

import re

from osd_edge.errors import Code, InputError, shown

TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_DIMENSION = 65_535  # n, d and k are stored in 16 bits
SLOTS_PER_BYTE = 128  # of a bundle: all that its factors, head and vectors have, zeros too


def task_name(text: str, advice: str = "") -> str:
    """Gives `text` back if it may name a task; raises InputError `input.task-name`.

    `advice` ends the message where the name was not given as one, but made of something else.
    """
    if not isinstance(text, str) or not TASK_NAME.fullmatch(text):
        raise InputError(
            Code.INPUT_TASK_NAME,
            "expected a task name of up to 64 letters, digits, '.', '_' or '-', the first a letter "
            f"or digit, found {shown(repr(text))}{advice}",
        )
    return text
