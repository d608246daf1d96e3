"""How often something may happen."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["RateLimit"]


class RateLimit:
    """At most `count` in any `within_s` seconds, for each key."""

    def __init__(
        self, count: int, within_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._within_s, self._clock = count, within_s, clock
        self._stamps: dict[str, list[float]] = {}

    def wait_s(self, key: str) -> float:
        """How long the next one has to wait; 0 = not at all. [s]"""
        now_s = self._clock()
        stamps = [s for s in self._stamps.get(key, ()) if now_s - s < self._within_s]
        self._stamps[key] = stamps
        if not stamps:
            del self._stamps[key]
        return self._within_s - (now_s - stamps[0]) if len(stamps) >= self._count else 0.0

    def note(self, key: str) -> None:
        """One has happened."""
        self._stamps.setdefault(key, []).append(self._clock())
