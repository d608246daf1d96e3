"""What follows from a fault, by its category, extent and level (the protocol, 11.2).

The table says what is to be done and in which order. For a LOCAL fault the unit that it names does
it. For a GLOBAL one every unit does it by itself as soon as it hears of the fault, whoever leads;
the grid master ends the deals besides. Every action is tried, even if the one before it failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from apis_core.model.messages import Fault
from apis_core.model.types import FaultCategory, FaultExtent, FaultLevel

__all__ = ["Action", "actions_for", "stays_until_run"]


class Action(Enum):
    """One thing to do about a fault (the protocol, 11.3).

    The protocol also resets and shuts down. Here nothing can be left to reset: locks are leases,
    and a slot is given back with its deal. Instead of ending processes, which somebody would have
    to start again and which could not say why they ended, the mode is set to Force stop; that
    survives a restart, and an operator's Run ends it.
    """

    LOG = auto()  # tell people
    QUARANTINE = auto()  # no new deals, of the unit or of all, for the sustaining time
    ASK_TO_END = auto()  # have the grid master end the unit's deals; what it does not, we do
    STEP_DOWN = auto()  # be grid master no longer, if it is; its deals go on under the next
    MODE_STOP_LOCAL = auto()  # the unit's mode to Force stop
    SCRAM = auto()  # everything off at once, the currents first and the voltage last
    MODE_STOP = auto()  # the global mode to Force stop


_A = Action
_Actions = tuple[Action, ...]

_END = (_A.ASK_TO_END,)
_END_AND_LEAVE = (_A.ASK_TO_END, _A.STEP_DOWN)
_SCRAM = (_A.SCRAM,)
_SCRAM_AND_STOP = (_A.SCRAM, _A.MODE_STOP)

# A bus that did not come up is off already, and is tried again, each time later; once it has
# failed too often an operator must start it (see FaultRegistry).
_TRIED_AGAIN = frozenset({"bus_start_failed"})
_ACKNOWLEDGED = frozenset({"converter_heavy_alarm"})  # by a person, though it concerns one unit

# At level ERROR, and at FATAL or a level that is not known.
_LOCAL: Mapping[FaultCategory, tuple[_Actions, _Actions]] = {
    FaultCategory.HARDWARE: (_END, (*_END_AND_LEAVE, _A.MODE_STOP_LOCAL)),
    FaultCategory.FRAMEWORK: (_END_AND_LEAVE, _END_AND_LEAVE),
    FaultCategory.LOGIC: (_END_AND_LEAVE, _END_AND_LEAVE),
    FaultCategory.USER: (_END, _END),
    # The protocol leaves the second open; a fault that bad ends what flows.
    FaultCategory.UNKNOWN: ((), _END),
}
_GLOBAL: Mapping[FaultCategory, tuple[_Actions, _Actions]] = {
    # a leak, an overloaded branch, an earth fault: nothing but a person can tell that it is gone
    FaultCategory.HARDWARE: (_SCRAM_AND_STOP, _SCRAM_AND_STOP),
    FaultCategory.FRAMEWORK: (_SCRAM, _SCRAM),
    FaultCategory.LOGIC: (_SCRAM, _SCRAM),
    FaultCategory.USER: (_SCRAM, _SCRAM),
    FaultCategory.UNKNOWN: ((), _SCRAM),
}


def actions_for(fault: Fault) -> tuple[Action, ...]:
    """What to do about a fault, in this order.

    A fault whose extent is not known concerns all. Whatever is no warning keeps those concerned
    from new deals, even if nothing else follows. A unit that breaks a hard limit (10.3) has
    stopped its converter before it asks.
    """
    if fault.level is FaultLevel.WARN:
        return (Action.LOG,)
    is_local = fault.extent is FaultExtent.LOCAL
    at_error, at_fatal = (_LOCAL if is_local else _GLOBAL)[fault.category]
    actions = at_error if fault.level is FaultLevel.ERROR else at_fatal
    if fault.code in _TRIED_AGAIN:
        actions = tuple(action for action in actions if action is not Action.MODE_STOP)
    return (Action.LOG, Action.QUARANTINE, *actions)


def stays_until_run(fault: Fault) -> bool:
    """Whether a fault lasts until an operator says Run, from the first time on."""
    return fault.code in _ACKNOWLEDGED or Action.MODE_STOP in actions_for(fault)
