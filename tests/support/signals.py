"""Signals of processes that tests start."""

import signal


def hear_ctrl_c() -> None:
    """Has a child process end by SIGINT, to be called in it before its program begins.

    A job in the background ignores SIGINT, and hands that on to all that it starts.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
