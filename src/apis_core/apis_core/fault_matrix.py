"""What follows from a fault, by its category, extent and level (the protocol, 11.2).

The table says what is to be done and in which order. For a LOCAL fault the unit that it names does
it, for a GLOBAL one the grid master. Every action is tried, even if the one before it failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from apis_core.messages import Fault
from apis_core.types import FaultCategory, FaultExtent, FaultLevel

__all__ = ["Action", "actions_for"]


class Action(Enum):
    """One thing to do about a fault (the protocol, 11.3)."""

    LOG = auto()  # tell people
    QUARANTINE = auto()  # no new deals, of the unit or of all, for the sustaining time
    ASK_AND_WAIT = auto()  # have the grid master end the unit's deals, with a time limit
    STOP_LOCAL = auto()  # the own converter to WAIT
    LEAVE_OFFICE = auto()  # be grid master no longer, if it is
    RESET_LOCAL = auto()  # free the unit's slots and locks
    SHUT_DOWN_LOCAL = auto()  # end the unit's process
    SCRAM = auto()  # stop all converters, the voltage reference last, and end all deals
    MODE_STOP = auto()  # the global mode to Force stop: an operator must start the grid again
    RESET_ALL = auto()  # RESET_LOCAL on every unit, and the election anew
    SHUT_DOWN_ALL = auto()  # SHUT_DOWN_LOCAL on every unit


_A = Action
_Actions = tuple[Action, ...]

_ASKED = (_A.ASK_AND_WAIT, _A.STOP_LOCAL)
_RESET = (*_ASKED, _A.LEAVE_OFFICE, _A.RESET_LOCAL)
_SCRAM_AND_RESET = (_A.SCRAM, _A.RESET_ALL)

# At level ERROR, and at FATAL or a level that is not known.
_LOCAL: Mapping[FaultCategory, tuple[_Actions, _Actions]] = {
    FaultCategory.HARDWARE: (_ASKED, (*_ASKED, _A.LEAVE_OFFICE, _A.SHUT_DOWN_LOCAL)),
    FaultCategory.FRAMEWORK: (_RESET, _RESET),
    FaultCategory.LOGIC: (_RESET, _RESET),
    FaultCategory.USER: (_ASKED, _ASKED),
    # The protocol leaves the second open; a fault that bad ends what flows.
    FaultCategory.UNKNOWN: ((), _ASKED),
}
_GLOBAL: Mapping[FaultCategory, tuple[_Actions, _Actions]] = {
    FaultCategory.HARDWARE: ((_A.SCRAM, _A.MODE_STOP), (_A.SCRAM, _A.SHUT_DOWN_ALL)),
    FaultCategory.FRAMEWORK: (_SCRAM_AND_RESET, _SCRAM_AND_RESET),
    FaultCategory.LOGIC: (_SCRAM_AND_RESET, _SCRAM_AND_RESET),
    FaultCategory.USER: ((_A.SCRAM,), (_A.SCRAM,)),
    FaultCategory.UNKNOWN: ((), (_A.SCRAM,)),
}


def actions_for(fault: Fault, *, is_hard: bool = False) -> tuple[Action, ...]:
    """What to do about a fault, in this order.

    A fault whose extent is not known concerns all. Whatever is no warning keeps those concerned
    from new deals, even if nothing else follows.

    Args:
        fault: Of any category, extent and level.
        is_hard: A limit of the hardware is broken (the protocol, 10.3): the unit's converter stops
            at once, and asks afterwards. A scram asks nobody anyway.
    """
    if fault.level is FaultLevel.WARN:
        return (Action.LOG,)
    is_local = fault.extent is FaultExtent.LOCAL
    at_error, at_fatal = (_LOCAL if is_local else _GLOBAL)[fault.category]
    actions = at_error if fault.level is FaultLevel.ERROR else at_fatal
    if is_hard and is_local:
        actions = (_A.STOP_LOCAL, *(action for action in actions if action is not _A.STOP_LOCAL))
    return (Action.LOG, Action.QUARANTINE, *actions)
