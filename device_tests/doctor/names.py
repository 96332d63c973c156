"""Takes a user's folder and name out of text that is to be shown to others."""

import getpass
import re
from pathlib import Path


def without_names(text: str) -> str:
    """Writes `~` for the home folder, and `USER` where a folder has the user's name."""
    home, user = _home(), _user()
    if home:
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    if user:
        text = re.sub(rf"(?<=[/\\]){re.escape(user)}(?![\w.-])", "USER", text)
    return text


def _home() -> str:
    """The home folder; empty where there is none, or where it is the root of the disk."""
    try:
        home = Path.home()
    except RuntimeError:
        return ""
    return str(home) if home.parent != home else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
