"""Keeping libraries' own remarks and bars off the command line; errors still come through."""

import warnings


def quiet_libraries() -> None:
    """Turn down transformers and optimum for this process; for commands, not for library use."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"(transformers|optimum|torch)\b.*")
