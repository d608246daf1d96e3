"""A hand-over: one unit takes the bus voltage over from another, and the bus stays up.

For a moment both hold the voltage, and droop makes them share the load (the protocol, 7.6.1). So
there are four steps, each obeyed before the next is ordered:

    WILL_HAND_OVER    the present reference switches its droop on
    WILL_TAKE_OVER    the successor begins to hold the voltage, too
    DID_HAND_OVER     the present reference lets go, and carries the current of its own deals
    DID_TAKE_OVER     the successor switches its droop off

A successor that refuses the second step leaves all as it was. If the order may have been obeyed
in spite of the refusal, there are two that hold the voltage: the successor must have let go
before the present reference may switch its droop off.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from apis_core.grid_master.bus_state import Holder
from apis_core.model.messages import ControlReply
from apis_core.model.transitions import Transitions, check
from apis_core.model.types import ControlError, ControlOperation, ConverterMode

__all__ = ["TRANSITIONS", "HandOver", "Step"]


class Step(Enum):
    """How far a hand-over has come."""

    WILL_HAND_OVER = auto()
    WILL_TAKE_OVER = auto()
    DID_HAND_OVER = auto()
    DID_TAKE_OVER = auto()
    # the way back, when the successor has failed halfway
    CHECK_SUCCESSOR = auto()  # does it hold the voltage?
    STOP_SUCCESSOR = auto()  # its deal has no current yet: it goes to WAIT
    RELEASE_SUCCESSOR = auto()  # it lets go, and carries the current of its own deals
    RESTORE = auto()  # the old reference holds the voltage alone again
    # how it has ended
    DONE = auto()
    REFUSED = auto()
    RESTORED = auto()


_S, _Op = Step, ControlOperation

TRANSITIONS: Final[Transitions[Step]] = {
    _S.WILL_HAND_OVER: {_S.WILL_TAKE_OVER: "answer"},
    _S.WILL_TAKE_OVER: {
        _S.DID_HAND_OVER: "answer",
        _S.CHECK_SUCCESSOR: "refusal",
        _S.REFUSED: "refusal",
    },
    _S.DID_HAND_OVER: {_S.DID_TAKE_OVER: "answer"},
    _S.DID_TAKE_OVER: {_S.DONE: "answer"},
    _S.CHECK_SUCCESSOR: {
        _S.STOP_SUCCESSOR: "answer",
        _S.RELEASE_SUCCESSOR: "answer",
        _S.RESTORE: "answer, refusal",  # it refuses because it has closed our deal already
    },
    _S.STOP_SUCCESSOR: {_S.RELEASE_SUCCESSOR: "answer", _S.RESTORE: "answer, refusal"},
    _S.RELEASE_SUCCESSOR: {_S.RESTORE: "answer, refusal"},
    _S.RESTORE: {_S.RESTORED: "answer"},
    _S.DONE: {},
    _S.REFUSED: {},
    _S.RESTORED: {},
}
_OPERATIONS: Mapping[Step, ControlOperation] = {
    _S.WILL_HAND_OVER: _Op.WILL_HAND_OVER,
    _S.WILL_TAKE_OVER: _Op.WILL_TAKE_OVER,
    _S.DID_HAND_OVER: _Op.DID_HAND_OVER,
    _S.DID_TAKE_OVER: _Op.DID_TAKE_OVER,
    _S.CHECK_SUCCESSOR: _Op.HOLD,
    _S.STOP_SUCCESSOR: _Op.WAIT,
    _S.RELEASE_SUCCESSOR: _Op.DID_HAND_OVER,
    _S.RESTORE: _Op.DID_TAKE_OVER,
}
_OF_THE_PRESENT_ONE = (_S.WILL_HAND_OVER, _S.DID_HAND_OVER, _S.RESTORE)
_IF_OBEYED: Mapping[Step, Step] = {
    _S.WILL_HAND_OVER: _S.WILL_TAKE_OVER,
    _S.WILL_TAKE_OVER: _S.DID_HAND_OVER,
    _S.DID_HAND_OVER: _S.DID_TAKE_OVER,
    _S.DID_TAKE_OVER: _S.DONE,
    _S.RESTORE: _S.RESTORED,
}
_UNDOING = (_S.CHECK_SUCCESSOR, _S.STOP_SUCCESSOR, _S.RELEASE_SUCCESSOR)


class HandOver:
    """One hand-over, from its first step to its end. It knows no time: who orders waits.

    Args:
        present: Who holds the voltage.
        successor: Who is to hold it.
        joins: Whether the successor's deal has no current on the bus yet.

    Attributes:
        step: How far it has come.
    """

    def __init__(self, present: Holder, successor: Holder, *, joins: bool) -> None:
        self.step = Step.WILL_HAND_OVER
        self.successor = successor
        self._present = present
        self._joins = joins
        self._may_be_obeyed = False  # an order of this step, though it was not answered

    @property
    def is_over(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self.step not in _OPERATIONS

    @property
    def operation(self) -> ControlOperation:
        """What the present step orders; there is one until the end."""
        return _OPERATIONS[self.step]

    @property
    def ordered(self) -> Holder:
        """Who is ordered that, and in the name of which deal."""
        return self._present if self.step in _OF_THE_PRESENT_ONE else self.successor

    def hear(self, reply: ControlReply) -> bool:
        """Take the answer to the order of the present step.

        Silence moves nothing: the order is given again, for as long as the caller has patience.

        Returns:
            Whether it can go neither on nor back. The voltage of both must end then.
        """
        if reply.error is ControlError.NO_ANSWER:
            self._may_be_obeyed = True
            return False
        if self.step in _UNDOING:
            self._undo(reply)
            return False
        if reply.error is ControlError.NONE:
            self._enter(_IF_OBEYED[self.step])
            return False
        if self.step is not Step.WILL_TAKE_OVER:
            return True
        is_halfway = self._may_be_obeyed or reply.error is ControlError.CONVERTER
        self._enter(Step.CHECK_SUCCESSOR if is_halfway else Step.REFUSED)
        return False

    def _undo(self, reply: ControlReply) -> None:
        """What a successor says that has failed halfway."""
        has_closed = reply.error is ControlError.UNKNOWN_DEAL  # with its converter off
        holds_bus = reply.reading.mode is ConverterMode.VOLTAGE_REFERENCE
        if has_closed or (reply.error is ControlError.NONE and not holds_bus):
            self._enter(Step.RESTORE)
        elif reply.error is not ControlError.NONE or self.step is Step.RELEASE_SUCCESSOR:
            pass  # it is to let go, and has not: it is asked again
        elif self.step is Step.CHECK_SUCCESSOR and self._joins:
            self._enter(Step.STOP_SUCCESSOR)
        else:
            self._enter(Step.RELEASE_SUCCESSOR)

    def _enter(self, step: Step) -> None:
        check(TRANSITIONS, self.step, step)
        self.step = step
        self._may_be_obeyed = False
