"""Counts the open connections, in all and from each address."""

import threading
from collections import Counter

from osd_edge.serve.limits import Limits


class OpenConnections:
    """Counts connections, and has no room for more than `limits` allow."""

    def __init__(self, limits: Limits) -> None:
        """Begins with none."""
        self._limits = limits
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, address: str) -> bool:
        """Counts one more from `address`, or says that there is no room for it."""
        with self._lock:
            full = self._open.total() >= self._limits.connections
            if full or self._open[address] >= self._limits.address_connections:
                return False
            self._open[address] += 1
            return True

    def remove(self, address: str) -> None:
        """Counts one less."""
        with self._lock:
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]  # addresses that come and go leave nothing
