"""The target of a request, `/ort/a%20b.wasm?x`, which is a path or malformed."""

import re
from urllib.parse import unquote_to_bytes

# RFC 3986, 3.3 and 3.4: printable ASCII without spaces, backslashes, quotes, `#` and the like.
_CHARACTER = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})"
_TARGET = re.compile(
    rf"(?:https?://(?P<host>[^/?]*))?(?P<path>/{_CHARACTER}*)?(?:\?(?:{_CHARACTER}|\?)*)?",
    re.IGNORECASE,
)
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")  # of what stands between two slashes


def parse_target(target: str) -> tuple[str, str | None] | None:
    """Reads the path, decoded, and the host of a target that has one; None where malformed.

    >>> parse_target("/a%20b.js?v=1"), parse_target("http://localhost/a")
    (('/a b.js', None), ('/a', 'localhost'))
    >>> parse_target("/../a"), parse_target("/%2e%2e/a"), parse_target("/a%00")
    (None, None, None)
    """
    match = _TARGET.fullmatch(target)
    if match is None or (match["path"] is None and match["host"] is None):
        return None
    names = []
    for name in (match["path"] or "/").split("/"):
        try:
            decoded = unquote_to_bytes(name).decode("utf-8")
        except UnicodeDecodeError:
            return None
        if decoded in (".", "..") or _NO_NAME.search(decoded):
            return None
        names.append(decoded)
    return "/".join(names), match["host"]
