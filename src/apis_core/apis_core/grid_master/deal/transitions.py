"""The phases of a deal, and which of them may follow which: one table.

*Answer* is what a unit said to an order, *time* that something did not come in time, *abort* the
grid master's wish to end the deal, *bus* what the grid master did with the bus, *reference* a
reading of the unit that holds the bus, *adopt* that a new grid master goes on with the deal.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from apis_core.model.transitions import Transitions
from apis_core.model.types import DealState

__all__ = [
    "AWAITING_BUS",
    "ENDING",
    "FLOWING",
    "HOLDING",
    "IN_TRANSITION",
    "STATE_OF",
    "TRANSITIONS",
    "Phase",
]


class Phase(Enum):
    """What the grid master does for a deal; finer than the state that the world sees."""

    ACQUIRING = auto()  # locks a slot on each unit
    QUEUED = auto()  # waits for its turn on the bus
    ACTIVATING = auto()  # its reference is told to hold the bus
    RAMPING_UP = auto()  # the bus comes to its voltage
    AUTHORISING = auto()  # it is proven that nobody else holds the bus
    STARTING = auto()  # one current after the other begins
    COMPENSATING = auto()  # a current is corrected for the meters' errors
    RUNNING = auto()
    STOPPING = auto()  # one current after the other ends
    LEAVING = auto()  # its reference gives the bus up, or books nothing for it any more
    RELEASING = auto()  # gives the slots back
    OVER = auto()


TRANSITIONS: Final[Transitions[Phase]] = {
    Phase.ACQUIRING: {
        Phase.QUEUED: "answer",
        Phase.RUNNING: "adopt",
        Phase.RELEASING: "abort, answer, time",
    },
    Phase.QUEUED: {
        Phase.ACTIVATING: "bus",
        Phase.STARTING: "bus",  # it is up already, for others
        Phase.RELEASING: "abort, answer, time",
    },
    Phase.ACTIVATING: {
        Phase.QUEUED: "bus",
        Phase.RAMPING_UP: "bus",
        Phase.STARTING: "bus",  # a unit of the deal has taken over a bus that was up
        Phase.LEAVING: "abort, answer, bus, time",  # by the bus: put back once too often
        Phase.RELEASING: "abort, answer, bus, time",  # no unit of the deal was to hold the bus
    },
    Phase.RAMPING_UP: {
        Phase.QUEUED: "bus",
        Phase.AUTHORISING: "bus",
        Phase.STARTING: "bus",  # there was nothing to prove
        Phase.LEAVING: "abort, answer, bus, time",
        Phase.RELEASING: "abort, answer, bus, time",
    },
    Phase.AUTHORISING: {
        Phase.QUEUED: "bus",
        Phase.STARTING: "bus",
        Phase.LEAVING: "abort, answer, bus, time",
        Phase.RELEASING: "abort, answer, bus, time",
    },
    Phase.STARTING: {
        Phase.COMPENSATING: "answer",
        Phase.RUNNING: "answer",  # there is nothing to correct
        Phase.STOPPING: "abort, answer, time",
        Phase.LEAVING: "abort, answer, time",  # no current had begun
    },
    Phase.COMPENSATING: {
        Phase.COMPENSATING: "reference",  # after a correction it looks anew
        Phase.RUNNING: "reference",
        Phase.STOPPING: "abort, answer, reference, time",
    },
    Phase.RUNNING: {
        Phase.STOPPING: "abort, answer, time",
        # the one side whose current it took over holds the bus now
        Phase.LEAVING: "abort, answer, time",
    },
    Phase.STOPPING: {
        Phase.LEAVING: "answer, time",
        Phase.RELEASING: "answer, time",  # no unit of the deal holds the bus
    },
    Phase.LEAVING: {Phase.RELEASING: "answer, bus"},
    Phase.RELEASING: {Phase.OVER: "answer, time"},
    Phase.OVER: {},
}

STATE_OF: Final[Mapping[Phase, DealState]] = {  # OVER has one of several
    Phase.ACQUIRING: DealState.UNKNOWN,
    Phase.QUEUED: DealState.QUEUED,
    Phase.ACTIVATING: DealState.ACTIVATING,
    Phase.RAMPING_UP: DealState.RAMPING_UP,
    Phase.AUTHORISING: DealState.RAMPING_UP,
    Phase.STARTING: DealState.STARTING,
    Phase.COMPENSATING: DealState.STARTING,
    Phase.RUNNING: DealState.RUNNING,
    Phase.STOPPING: DealState.STOPPING,
    Phase.LEAVING: DealState.STOPPING,
    Phase.RELEASING: DealState.RELEASING,
}
AWAITING_BUS: Final = (Phase.ACTIVATING, Phase.RAMPING_UP, Phase.AUTHORISING)
IN_TRANSITION: Final = (Phase.STARTING, Phase.COMPENSATING)
HOLDING: Final = (Phase.STARTING, Phase.COMPENSATING, Phase.RUNNING)
FLOWING: Final = (Phase.STARTING, Phase.COMPENSATING, Phase.RUNNING, Phase.STOPPING)
ENDING: Final = (Phase.STOPPING, Phase.LEAVING, Phase.RELEASING, Phase.OVER)
