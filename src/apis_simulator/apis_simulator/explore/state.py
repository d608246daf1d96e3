"""One state of the whole: three units, their journals and converters, and what is under way."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Budget", "Call", "Letter", "State"]


class Letter(NamedTuple):
    """Something under way to a unit.

    Attributes:
        to: Index of the unit.
        event: Its number.
        may_fail: Whether the network can lose, double or delay it.
    """

    to: int
    event: int
    may_fail: bool


class Call(NamedTuple):
    """A question that waits for its answer.

    Attributes:
        left_ns: How long it still does.
        unit: Who asks.
        none: Number of the event that says that there will be no answer.
    """

    left_ns: int
    unit: int
    none: int


class Budget(NamedTuple):
    """How often each may still happen."""

    faults: int  # of any kind
    lose: int = 0
    twice: int = 0
    late: int = 0
    cut: int = 0
    die: int = 0
    restart: int = 0


class State(NamedTuple):
    """A state. All but ``elapsed_ns`` tells states apart; a time is how long ago or in how long.

    Attributes:
        units: Number of the state of each unit; DEAD = its process is dead.
        journals: Number of the journal of each unit.
        starts: How many processes each unit has had.
        converters: Number of the state of each converter.
        queue: What arrives next, in this order.
        late: What arrives some time, in order of numbers.
        calls: What waits for an answer.
        cut: From which unit to which nothing passes; (-1, -1) = all does.
        tick_ns: In how long converters are read.
        dead_ns: How long each unit has been dead; 0 = it lives, or its converter is off since.
        ruled_ns: How long ago each unit obeyed a grid master.
        gave: Of each converter the newest term that it obeyed, and whose orders those were.
        leaders: Terms in which somebody led, and who.
        booked_wh: What each unit has written down for deals that it closed. [Wh]
        budget: What may still go wrong.
        elapsed_ns: Since the story began.
    """

    units: tuple[int, ...]
    journals: tuple[int, ...]
    starts: tuple[int, ...]
    converters: tuple[int, ...]
    queue: tuple[Letter, ...]
    late: tuple[Letter, ...]
    calls: tuple[Call, ...]
    cut: tuple[int, int]
    tick_ns: int
    dead_ns: tuple[int, ...]
    ruled_ns: tuple[int, ...]
    gave: tuple[tuple[int, str], ...]
    leaders: tuple[tuple[int, int], ...]
    booked_wh: tuple[float, ...]
    budget: Budget
    elapsed_ns: int
