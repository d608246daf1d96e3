"""The event heap and the clock of a run, and its trace."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from apis_core.model.units import SECOND_NS
from apis_simulator.trace import Trace

__all__ = ["Timeline"]


class Timeline:
    """What happens when. Events of the same instant happen in the order they were planned.

    Attributes:
        now_ns: The clock of the world, from 0.
        events: How many have happened.
    """

    def __init__(self, trace: Trace) -> None:
        self.now_ns = 0
        self.events = 0
        self.trace = trace
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    @property
    def now_s(self) -> float:
        """The clock of the world. [s]"""
        return self.now_ns / SECOND_NS

    def at(self, time_ns: int, action: Callable[..., None], *args: Any) -> None:
        """Do something then, or now if that is over."""
        self._count += 1
        heapq.heappush(self._heap, (max(time_ns, self.now_ns), self._count, action, args))

    def run_until(self, end_ns: int) -> None:
        """Let virtual time pass."""
        heap = self._heap
        while heap and heap[0][0] <= end_ns:
            self.now_ns, _, action, args = heapq.heappop(heap)
            self.events += 1
            action(*args)
        self.now_ns = end_ns

    def say(self, who: str, text: str) -> None:
        """A line of the trace."""
        self.trace.add(self.now_ns, who, text)
