"""Tells a caller's own time-out from an error of the operating system."""


def let_pass(error: BaseException) -> None:
    """Raises `error` again if it is a TimeoutError that no call to the system gave.

    A handler of the caller's may raise one at any line, also where errors of files are expected;
    Python's own has a number.
    """
    if isinstance(error, TimeoutError) and error.errno is None:
        raise error
