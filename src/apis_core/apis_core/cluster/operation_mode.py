"""Operation modes: an operator sets one for all units, and one for each; the stricter holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from apis_core.events import Effect, GlobalModeSet, LocalModeSet, Record
from apis_core.model.messages import OperationModeOrder, UnitStatus
from apis_core.model.types import NOBODY, OperationMode, UnitId

__all__ = ["OperationModes", "effective_mode"]


def effective_mode(global_mode: OperationMode, local_mode: OperationMode) -> OperationMode:
    """The mode that a unit obeys: the stricter of both, but Manual is for all units or none.

    Args:
        global_mode: Of the cluster, never UNSET.
        local_mode: UNSET, SOFT_STOP or FORCE_STOP.
    """
    if global_mode is OperationMode.MANUAL or local_mode is OperationMode.UNSET:
        return global_mode
    return max(global_mode, local_mode)


@dataclass(slots=True)
class OperationModes:
    """The modes of one unit.

    The global one carries a version; the highest version wins, everywhere.

    Attributes:
        effective: The mode that this unit obeys; it follows from the others.
    """

    unit_id: UnitId
    global_mode: OperationMode
    version: int = 0
    local_mode: OperationMode = OperationMode.UNSET
    effective: OperationMode = field(init=False)  # looked at after every event of the unit

    def __post_init__(self) -> None:
        self.effective = effective_mode(self.global_mode, self.local_mode)

    def hear_order(self, order: OperationModeOrder) -> list[Effect]:
        """Take an order of an operator.

        What makes no sense (a global UNSET, a local Manual) is ignored.
        """
        if order.unit_id == NOBODY:
            return self._adopt(order.mode, order.version or self.version + 1)
        if order.unit_id != self.unit_id or order.mode is OperationMode.MANUAL:
            return []
        # a local Run would promise what the global mode may forbid: it means "as the cluster does"
        mode = OperationMode.UNSET if order.mode is OperationMode.RUN else order.mode
        if mode is self.local_mode:
            return []
        self.local_mode = mode
        self.effective = effective_mode(self.global_mode, mode)
        return [Record(LocalModeSet(mode))]

    def hear_status(self, status: UnitStatus) -> list[Effect]:
        """Catch up with a global mode that another unit knows and we missed."""
        return self._adopt(status.global_mode, status.global_mode_version)

    def _adopt(self, mode: OperationMode, version: int) -> list[Effect]:
        # two operators at the same version: the stricter word wins, the same way on every unit
        newer = (version, mode) > (self.version, self.global_mode)
        if mode is OperationMode.UNSET or version == 0 or not newer:
            return []
        self.global_mode, self.version = mode, version
        self.effective = effective_mode(mode, self.local_mode)
        return [Record(GlobalModeSet(mode, version))]
