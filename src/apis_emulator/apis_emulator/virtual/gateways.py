"""Batteries that units of this cluster share with one of another, which has deals at times."""

from __future__ import annotations

from apis_core.types import DealType, UnitId

__all__ = ["SharedBatteries"]

_OURS, _NEIGHBOURS = "ours", "the neighbour's"


class SharedBatteries:
    """Who holds which direction of which battery; a process's locks go when the process does.

    The neighbour is no more than its lock: what it does with the battery shows nowhere else.
    """

    def __init__(self) -> None:
        self._holders: dict[tuple[UnitId, DealType], str] = {}

    def claim(self, unit_id: UnitId, type: DealType) -> bool:
        """Our unit wants a direction; whether it has it now."""
        return self._holders.setdefault((unit_id, type), _OURS) == _OURS

    def free(self, unit_id: UnitId, type: DealType) -> None:
        """Our unit gives it back."""
        if self._holders.get((unit_id, type)) == _OURS:
            del self._holders[unit_id, type]

    def died(self, unit_id: UnitId) -> None:
        """Our unit's process is gone, and its locks with it."""
        for type in DealType:
            self.free(unit_id, type)

    def neighbour_claims(self, unit_id: UnitId, type: DealType) -> bool:
        """The neighbour wants a direction; whether it has just got it."""
        if (unit_id, type) in self._holders:
            return False
        self._holders[unit_id, type] = _NEIGHBOURS
        return True

    def neighbour_frees(self, unit_id: UnitId, type: DealType) -> None:
        """The neighbour's deals of that direction are over."""
        del self._holders[unit_id, type]

    def ours(self, unit_id: UnitId) -> set[DealType]:
        """The directions that our unit holds."""
        return {t for t in DealType if self._holders.get((unit_id, t)) == _OURS}

    def neighbours(self, unit_id: UnitId) -> set[DealType]:
        """The directions that the neighbour holds."""
        return {t for t in DealType if self._holders.get((unit_id, t)) == _NEIGHBOURS}
