"""Bounds on what a connection, an address, a request and all of them together take of the API."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ApiLimits:
    """The most connections, and the time and size of each part of a request and its answer.

    `waiting` bounds the requests that wait to be asked; prompts have a bound of their own.
    """

    connections: int = 128
    address_connections: int = 64  # all who come from this machine, or through a proxy, are one
    head_seconds: float = 20  # from the connection, or the answer before, to a whole next head
    head_bytes: int = 16 << 10
    body_seconds: float = 30
    body_bytes: int = 1 << 20
    stall_seconds: float = 30  # for `stall_bytes` of an answer to be taken
    stall_bytes: int = 64 << 10  # that the system may hold of an answer, and uvicorn as many
    answer_seconds: float = 600  # from a whole request to the end of its answer
    ending_seconds: float = 5  # for answers to end when the server is asked to
    goodbye_seconds: float = 1  # for a refusal to arrive before the connection goes
    texts: int = 256  # of one request
    choices: int = 16  # answers to one prompt
    waiting: int = 64
