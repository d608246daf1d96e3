"""The two ways in which a unit ends all of its deals: its process stops, or the mode is Stop.

Both ask the grid master first, so that a bus that others use is handed over. What it has not ended
in time the unit ends by itself.
"""

from __future__ import annotations

from apis_core.events import Effect, Log
from apis_core.model.types import ConverterMode, OperationMode
from apis_core.model.units import NEVER_NS
from apis_core.unit.order_handler import OrderHandler
from apis_core.unit.unit_state import UnitState

__all__ = ["ForceStop", "ProcessShutdown"]

_REASON = "the process is stopping"
_ENDS_DEALS = (OperationMode.FORCE_STOP, OperationMode.MANUAL)


class ProcessShutdown:
    """Takes the process of a unit to its end.

    Args:
        state: The unit's state.
        order_handler: Has the grid master end the deals of the unit.
    """

    def __init__(self, state: UnitState, order_handler: OrderHandler) -> None:
        self._state = state
        self._order_handler = order_handler
        self._leave_due_ns = NEVER_NS  # when we leave what others have not ended
        self._end_due_ns = NEVER_NS

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        return min(self._leave_due_ns, self._end_due_ns)

    def begin(self, now_ns: int) -> list[Effect]:
        """The process is to end."""
        state = self._state
        if state.is_stopping:
            return []
        state.is_stopping = True
        self._end_due_ns = now_ns + state.timing.stop_ns
        effects: list[Effect] = [Log("is stopping")]
        if state.grid_master is not None:
            effects += state.grid_master.step_down(f"{state.unit_id} is stopping", now_ns)
        self._leave_due_ns = now_ns + state.timing.leave_ns
        for deal in state.interlock.deals:
            self._order_handler.ending[deal.deal_id] = (_REASON, self._leave_due_ns)
        return effects

    def tick(self, now_ns: int) -> list[Effect]:
        """Leave what others have not ended in time."""
        if now_ns < self._leave_due_ns:
            return []
        self._leave_due_ns = NEVER_NS
        return self._state.converter.stop(_REASON, now_ns)

    def may_exit(self, now_ns: int) -> bool:
        """Whether the process may end now: nothing of the unit is on, or its time is up."""
        state = self._state
        if not state.is_stopping:
            return False
        runs_deals = state.grid_master is not None and not state.grid_master.can_hand_off
        waits_for_deals = runs_deals or bool(state.interlock.deals)
        mode = state.converter.reading.mode
        is_off = mode in (ConverterMode.WAIT, ConverterMode.UNKNOWN)
        return now_ns >= self._end_due_ns or (is_off and not waits_for_deals)


class ForceStop:
    """Stops the converter in a mode in which no deal goes on.

    Args:
        state: The unit's state.
    """

    def __init__(self, state: UnitState) -> None:
        self._state = state
        self.wake_ns = NEVER_NS  # when the grid master should have ended our deals

    def follow_mode(self, now_ns: int) -> None:
        """Give the grid master its time, once the mode ends the deals that this unit has."""
        state = self._state
        stops = state.modes.effective in _ENDS_DEALS
        if not (stops and state.interlock.deals):
            self.wake_ns = NEVER_NS
        elif self.wake_ns == NEVER_NS and not state.converter.is_stopping:
            self.wake_ns = now_ns + state.timing.force_stop_ns

    def tick(self, now_ns: int) -> list[Effect]:
        """Stop by ourselves what the grid master has not ended."""
        if now_ns < self.wake_ns:
            return []
        self.wake_ns = NEVER_NS
        return self._state.converter.stop("the operator's Force stop", now_ns)
