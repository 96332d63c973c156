"""The names that a server answers to, so that no web page reaches it by a name of its own.

A page elsewhere can make its own name lead to this machine (DNS rebinding), and its script would
then read what is served as if it were from there. Such a request names the page's host.
"""

import ipaddress
import re

from osd_edge.errors import Code, InputError

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_PORTS_LEFT_OUT = (80, 443)  # of http and https


class OwnNames:
    """Knows the names of a server at `port`: its address, localhost, and `names`.

    One of `names` may have a port of its own, for a proxy before the server: `phones.example:443`.
    """

    def __init__(self, names: tuple[str, ...], port: int) -> None:
        """Raises InputError `input.address` for one of `names` that is no name."""
        self._port = port
        self._names: list[tuple[str, int]] = []
        for name in names:
            found = _split(name)
            if found is None:
                raise InputError(
                    Code.INPUT_ADDRESS,
                    f"{name!r} is no name that a server has: expected one such as "
                    "workstation.example or 192.168.1.2, a port after a colon where it has its own",
                )
            self._names.append((found[0], port if found[1] is None else found[1]))

    @property
    def first(self) -> tuple[str, int]:
        """The first of the names that were given, and its port."""
        return self._names[0]

    def has(self, host: str, arrived_at: str) -> bool:
        """Says whether `host`, of a request, names the server.

        An address must be the one that the connection `arrived_at`; those of loopback are one.
        """
        found = _split(host)
        if found is None:
            return False
        name, port = found
        if any(name == own and _is_port(port, at) for own, at in self._names):
            return True
        if not _is_port(port, self._port):
            return False
        at = _address(arrived_at)
        if name == "localhost":
            return at is not None and at.is_loopback
        asked = _address(name)
        if asked is None or at is None:
            return False
        return asked == at or (asked.is_loopback and at.is_loopback)


def _split(host: str) -> tuple[str, int | None] | None:
    """Name and port of a `Host` header; None where it is none."""
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    name = match[1].strip("[]").lower().removesuffix(".")
    return name, None if match[2] is None else int(match[2])


def _is_port(asked: int | None, own: int) -> bool:
    return own in _PORTS_LEFT_OUT if asked is None else asked == own


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
