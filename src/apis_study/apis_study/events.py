"""The heap of a study: what happens next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from apis_core.model.units import s_from_ns

__all__ = ["EventHeap"]


class EventHeap:
    """Events in the order of their times; those of one instant in the order in which they came.

    Attributes:
        now_ns: Present time since the start.
        count: How many have happened.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self.count = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    @property
    def now_s(self) -> float:
        """Present time since the start. [s]"""
        return s_from_ns(self.now_ns)

    def at(self, time_ns: int, what: Callable[..., None], *arguments: Any) -> None:
        """Something is to happen."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(time_ns, self.now_ns), self._sequence, what, arguments))

    def run(self, until_ns: int) -> None:
        """Let everything happen until a time, and be there."""
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            self.now_ns, _, what, arguments = heapq.heappop(heap)
            self.count += 1
            what(*arguments)
        self.now_ns = until_ns
