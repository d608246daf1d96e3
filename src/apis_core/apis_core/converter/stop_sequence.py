"""The order in which a unit stops its converter by itself: the current first, the voltage last.

A converter that carries a current is told WAIT at once. A voltage reference on whose bus a current
flows waits until the units that carry it have let go, or until the policy's scram delay is over;
then it is told WAIT, again and again until a reading shows that it is off. The driver keeps the
same order within one converter (``apis_driver.stopping``), by the same threshold.
"""

from __future__ import annotations

from enum import Enum, auto

from apis_core.converter.commands import READ
from apis_core.converter.driver_contract import TO_WAIT, carries_current
from apis_core.converter.shares import Share
from apis_core.model.messages import ConverterOrder, ConverterReading
from apis_core.model.transitions import Transitions, check
from apis_core.model.types import ConverterMode
from apis_core.model.units import NEVER_NS

__all__ = ["TRANSITIONS", "StopSequence", "StopStep"]


class StopStep(Enum):
    """How far a unit has come with stopping its converter."""

    NONE = auto()  # it is not being stopped
    CURRENT = auto()  # it holds the voltage until the currents of its bus are gone
    VOLTAGE = auto()  # it is told WAIT


TRANSITIONS: Transitions[StopStep] = {
    StopStep.NONE: {StopStep.CURRENT: "stop"},
    StopStep.CURRENT: {StopStep.VOLTAGE: "no current, time", StopStep.NONE: "off"},
    # the current of another unit may come back while the bus is not off yet
    StopStep.VOLTAGE: {StopStep.CURRENT: "current", StopStep.NONE: "off"},
}


class StopSequence:
    """Decides what is ordered next to bring the converter to WAIT, and when.

    Until the driver has answered once, WAIT is said again even if nobody has asked to stop, and
    whatever a reading shows: that readings come does not mean that orders arrive.

    Args:
        retry_ns: Between two tries.

    Attributes:
        step: How far it has come.
        reason: Why it is being stopped; empty = it is not.
        last_reason: Why it was stopped last; empty since the next order.
        revoked: The newest share that was voided, while its reference waits for its end.
        has_answered: The driver, any order since this process began.
        due_ns: When a reference that still carries current is stopped all the same.
        wake_ns: When :meth:`next_order` wants to be asked.
        retry_ns: Between two tries.
    """

    def __init__(self, retry_ns: int) -> None:
        self.step = StopStep.NONE
        self.reason = ""
        self.last_reason = ""
        self.revoked: Share | None = None
        self.has_answered = False
        self.due_ns = NEVER_NS
        self.wake_ns = NEVER_NS
        self.retry_ns = retry_ns

    @property
    def is_under_way(self) -> bool:
        """Whether the converter is being stopped."""
        return self.step is not StopStep.NONE

    def begin(self, reason: str, revoked: Share | None, due_ns: int) -> None:
        """Stop from now.

        Args:
            reason: For people.
            revoked: The newest of the shares that are void now.
            due_ns: When the voltage goes even if a current flows.
        """
        self._to(StopStep.CURRENT)
        self.reason = self.last_reason = reason
        self.revoked, self.due_ns = revoked, due_ns

    def next_order(self, reading: ConverterReading, now_ns: int) -> ConverterOrder | None:
        """What the converter is ordered now; None = nothing, the driver has answered."""
        if not self.is_under_way and self.has_answered:
            self.wake_ns = NEVER_NS
            return None
        self.wake_ns = now_ns + self.retry_ns
        holds_bus = reading.mode is ConverterMode.VOLTAGE_REFERENCE
        waits = holds_bus and carries_current(reading) and now_ns < self.due_ns
        if self.is_under_way:
            self._to(StopStep.CURRENT if waits else StopStep.VOLTAGE)
        if waits:
            self.wake_ns = min(self.wake_ns, self.due_ns)
            return READ
        self.revoked = None
        return TO_WAIT

    def note_answer(self, has_come: bool, now_ns: int) -> None:
        """Take note of a command that was answered, or never will be."""
        self.has_answered = self.has_answered or has_come
        if not self.is_under_way:
            self.wake_ns = NEVER_NS if self.has_answered else now_ns + self.retry_ns

    def note_off(self, now_ns: int, *, is_answer_awaited: bool) -> None:
        """Take note that the converter is off."""
        if not self.is_under_way:
            return
        self._to(StopStep.NONE)
        self.reason, self.revoked = "", None
        self.wake_ns = self.due_ns = NEVER_NS
        if not is_answer_awaited and not self.has_answered:
            self.wake_ns = now_ns + self.retry_ns

    def _to(self, step: StopStep) -> None:
        if step is not self.step:
            check(TRANSITIONS, self.step, step)
            self.step = step
