"""Addresses of this machine: which only it reaches, and which one a phone is to open."""

import ipaddress
import socket


def is_address(host: str) -> bool:
    """Says whether `host` is an address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Says whether only this machine reaches `host`, an address or a name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def page_address(scheme: str, host: str, port: int) -> str:
    """The address to open in a browser; for a wildcard, the machine's own in its network.

    >>> page_address("http", "::1", 8765)
    'http://[::1]:8765/'
    """
    if host in ("", "0.0.0.0", "::"):
        host = network_address(socket.AF_INET6 if host == "::" else socket.AF_INET)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


def network_address(family: socket.AddressFamily) -> str:
    """Finds this machine's address as others see it; asks the system's routes and sends nothing."""
    outside = ("2001:db8::1", 9) if family == socket.AF_INET6 else ("192.0.2.1", 9)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(outside)  # of a datagram socket: no packet leaves
            return str(probe.getsockname()[0])
    except OSError:
        return "::1" if family == socket.AF_INET6 else "127.0.0.1"
