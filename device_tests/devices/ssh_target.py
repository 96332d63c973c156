"""Parses `ssh:user@host[:port][,name=value…]`: which device, and how to log in there."""

from dataclasses import dataclass, replace
from pathlib import Path

from osd_edge.errors import Code, InputError, shown

_FORM = "ssh:user@host[:port][,key=FILE][,config=FILE][,python=PROGRAM][,folder=DIR][,installed]"


@dataclass(frozen=True)
class SshTarget:
    """A device that ssh reaches.

    `host` may be with a user, or a name from ssh's own configuration. `key` is the private key,
    `config` a configuration file in place of the user's. `python` runs Python there; files go to
    a new folder in `folder` there, the home folder where it is None. `installed` uses the
    osd-edge that is installed there, as it is.
    """

    host: str
    port: int | None = None
    key: Path | None = None
    config: Path | None = None
    python: str = "python3"
    folder: str | None = None
    installed: bool = False

    def command(self, remote: str) -> list[str]:
        """Makes the ssh command that runs the shell line `remote` there and never asks anything."""
        words = ["ssh"]
        if self.config is not None:
            words += ["-F", str(self.config)]
        for option in ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=15"):
            words += ["-o", option]
        if self.key is not None:
            words += ["-i", str(self.key), "-o", "IdentitiesOnly=yes"]
        if self.port is not None:
            words += ["-p", str(self.port)]
        return [*words, "-T", "--", self.host, remote]


def parse_target(text: str) -> SshTarget:
    """Parses `user@host[:port][,name=value…]`. Raises InputError `input.device`."""
    address, *options = text.split(",")
    host, port = _split_port(address)
    # ssh would take a leading dash for an option
    if not host or host.startswith("-") or any(c.isspace() for c in host):
        raise InputError(Code.INPUT_DEVICE, f"expected --device {_FORM}, found {shown(text)!r}")
    target = SshTarget(host, port)
    for option in options:
        target = _with_option(target, option)
    return target


def _split_port(address: str) -> tuple[str, int | None]:
    """Splits `host:22` or `user@[::1]:22`; a bare IPv6 address has many colons and no port."""
    user, at, place = address.rpartition("@")
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        colon, port = rest[:1], rest[1:]
    elif place.count(":") > 1:
        host, colon, port = place, "", ""
    else:
        host, colon, port = place.partition(":")
    if colon and not (colon == ":" and port.isdecimal() and 0 < int(port) < 65536):
        raise InputError(Code.INPUT_DEVICE, f"expected a port of 1 to 65535, found {shown(port)!r}")
    return (user + at + host if host else ""), int(port) if colon else None


def _with_option(target: SshTarget, option: str) -> SshTarget:
    name, equals, value = option.partition("=")
    if name == "installed" and not equals:
        return replace(target, installed=True)
    if name in ("key", "config") and value:
        path = Path(value).expanduser()
        if not path.is_file():
            raise InputError(Code.INPUT_DEVICE, f"{name}={shown(value)}: there is no such file")
        return replace(target, key=path) if name == "key" else replace(target, config=path)
    if name == "python" and value:
        return replace(target, python=value)
    if name == "folder" and value:
        return replace(target, folder=value)
    raise InputError(Code.INPUT_DEVICE, f"expected {_FORM}, found the option {shown(option)!r}")
