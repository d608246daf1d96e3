"""A driver that does not answer, or does not obey, becomes a fault of its unit."""

from __future__ import annotations

from apis_core.events import Effect
from apis_core.model.messages import ConverterReply
from apis_core.model.origin import Origin
from apis_core.unit.fault_handler import FaultHandler
from apis_core.unit.unit_state import UnitState

__all__ = ["DriverWatch"]


class DriverWatch:
    """Takes the driver's answers for one unit.

    Args:
        state: The unit's state.
        fault_handler: Takes the faults that are found.
        now_ns: Present time.
    """

    def __init__(self, state: UnitState, fault_handler: FaultHandler, now_ns: int) -> None:
        self._state = state
        self._fault_handler = fault_handler
        self._unanswered = (0, now_ns)  # orders in a row, and since when

    def answered(self, origin: Origin, reply: ConverterReply | None, now_ns: int) -> list[Effect]:
        """The driver answered a command, or never will (None)."""
        state = self._state
        effects: list[Effect] = []
        if state.converter.is_switching_on(origin):
            effects += self._note_refusal(reply, now_ns)
        effects += state.converter.answered(origin, reply, state.soc_ratio, now_ns)
        effects += self._note_silence(reply is None, now_ns)
        return effects

    def _note_silence(self, is_silent: bool, now_ns: int) -> list[Effect]:
        """A driver that leaves several orders unanswered, and that for long, is a fault."""
        count, since_ns = self._unanswered if self._unanswered[0] else (0, now_ns)
        self._unanswered = (count + 1, since_ns) if is_silent else (0, now_ns)
        attempts = self._state.policy.request_attempts
        is_long = now_ns - since_ns >= attempts * self._state.timing.deal.answer_ns
        if self._unanswered[0] < attempts or not is_long:
            return []
        message = f"the driver has not answered {self._unanswered[0]} orders in a row"
        return self._fault_handler.raise_local("driver_unreachable", message, now_ns)

    def _note_refusal(self, reply: ConverterReply | None, now_ns: int) -> list[Effect]:
        """Deals that its driver spoils come less and less often, and become a fault."""
        refusals = self._state.refusals
        pause_ns = self._state.policy.local_quarantine_ns
        if not refusals.note(reply, pause_ns, now_ns):
            return []
        message = f"the driver has not obeyed {refusals.count} orders in a row: {refusals.message}"
        return self._fault_handler.raise_local("driver_disobeys", message, now_ns)
