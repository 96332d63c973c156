"""Bounds on what one connection, one address, and all of them together take of the server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The most connections that there may be, and the time and size of each of their parts.

    A thread serves a connection, so `connections` bounds threads too. An answer has no total
    time: a phone in bad Wi-Fi gets 100 MB, over hours, as long as each piece of it gets through.
    """

    connections: int = 96  # each with a file, within the 256 open files that macOS allows
    address_connections: int = 32  # a browser opens 6
    connection_seconds: float = 600  # after which the next answer is a connection's last
    head_seconds: float = 20  # from the connection, or the answer before, to a whole next head
    head_bytes: int = 16 << 10
    target_bytes: int = 2 << 10
    piece_seconds: float = 60  # for each `piece_bytes` of an answer: about 4 KiB a second
    piece_bytes: int = 256 << 10
    goodbye_seconds: float = 1  # for a refusal to arrive that was made before all was read
