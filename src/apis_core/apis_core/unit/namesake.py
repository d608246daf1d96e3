"""Another process that uses the id of this unit is a fault: both would order one converter."""

from __future__ import annotations

from apis_core.events import Effect
from apis_core.model.messages import UnitStatus
from apis_core.model.types import FaultCategory, FaultLevel
from apis_core.unit.fault_handler import FaultHandler
from apis_core.unit.unit_state import UnitState

__all__ = ["NamesakeWatch"]


class NamesakeWatch:
    """Watches for a status of this unit that another process has published.

    Args:
        state: The unit's state.
        fault_handler: Takes the fault.
    """

    def __init__(self, state: UnitState, fault_handler: FaultHandler) -> None:
        self._state = state
        self._fault_handler = fault_handler
        self._last = ("", 0)  # the other process's instance, and its last sequence

    def hear_status(self, status: UnitStatus, now_ns: int) -> list[Effect]:
        """Take a status that names this unit.

        One status may be the last of an earlier process of ours. Who speaks twice is alive.
        """
        if status.instance_id == self._state.instance_id:
            return []
        instance_id, sequence = self._last
        self._last = (status.instance_id, status.sequence)
        if (instance_id, sequence) == self._last or instance_id != status.instance_id:
            return []
        message = f"another process says that it is {self._state.unit_id}; ids must differ"
        effects = self._fault_handler.raise_local(
            "duplicate_unit_id", message, now_ns, FaultCategory.USER, FaultLevel.FATAL
        )
        return [*effects, *self._state.converter.stop(message, now_ns)]
