"""A state that is being made from another one."""

from __future__ import annotations

from apis_simulator.explore.state import Budget, Call, Letter, State

__all__ = ["Draft"]


class Draft:
    """A state that is being made from another one."""

    __slots__ = (*State._fields,)

    units: list[int]
    journals: list[int]
    starts: list[int]
    converters: list[int]
    queue: list[Letter]
    late: list[Letter]
    calls: list[Call]
    cut: tuple[int, int]
    tick_ns: int
    dead_ns: list[int]
    ruled_ns: list[int]
    gave: list[tuple[int, str]]
    leaders: tuple[tuple[int, int], ...]
    booked_wh: list[float]
    budget: Budget
    elapsed_ns: int

    def __init__(self, state: State) -> None:
        (
            units,
            journals,
            starts,
            converters,
            queue,
            late,
            calls,
            self.cut,
            self.tick_ns,
            dead_ns,
            ruled_ns,
            gave,
            self.leaders,
            booked_wh,
            self.budget,
            self.elapsed_ns,
        ) = state
        self.units, self.journals, self.starts = [*units], [*journals], [*starts]
        self.converters, self.queue, self.late = [*converters], [*queue], [*late]
        self.calls, self.dead_ns, self.ruled_ns = [*calls], [*dead_ns], [*ruled_ns]
        self.gave, self.booked_wh = [*gave], [*booked_wh]

    def done(self) -> State:
        """The state."""
        return State(
            tuple(self.units),
            tuple(self.journals),
            tuple(self.starts),
            tuple(self.converters),
            tuple(self.queue),
            tuple(sorted(self.late)),
            tuple(sorted(self.calls)),
            self.cut,
            self.tick_ns,
            tuple(self.dead_ns),
            tuple(self.ruled_ns),
            tuple(self.gave),
            self.leaders,
            tuple(self.booked_wh),
            self.budget,
            self.elapsed_ns,
        )
