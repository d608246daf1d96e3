"""Batteries that units of this cluster share with one of another, which has deals at times."""

from __future__ import annotations

from apis_core.model.types import Direction, UnitId

__all__ = ["SharedBatteries"]

_OURS, _NEIGHBOURS = "ours", "the neighbour's"


class SharedBatteries:
    """Who holds which direction of which battery; a process's locks go when the process does.

    The neighbour is no more than its lock: what it does with the battery shows nowhere else.
    """

    def __init__(self) -> None:
        self._holders: dict[tuple[UnitId, Direction], str] = {}

    def claim(self, unit_id: UnitId, direction: Direction) -> bool:
        """Our unit wants a direction; whether it has it now."""
        return self._holders.setdefault((unit_id, direction), _OURS) == _OURS

    def free(self, unit_id: UnitId, direction: Direction) -> None:
        """Our unit gives it back."""
        if self._holders.get((unit_id, direction)) == _OURS:
            del self._holders[unit_id, direction]

    def died(self, unit_id: UnitId) -> None:
        """Our unit's process is gone, and its locks with it."""
        for direction in Direction:
            self.free(unit_id, direction)

    def neighbour_claims(self, unit_id: UnitId, direction: Direction) -> bool:
        """The neighbour wants a direction; whether it has just got it."""
        if (unit_id, direction) in self._holders:
            return False
        self._holders[unit_id, direction] = _NEIGHBOURS
        return True

    def neighbour_frees(self, unit_id: UnitId, direction: Direction) -> None:
        """The neighbour's deals of that direction are over."""
        del self._holders[unit_id, direction]

    def ours(self, unit_id: UnitId) -> set[Direction]:
        """The directions that our unit holds."""
        return {t for t in Direction if self._holders.get((unit_id, t)) == _OURS}

    def neighbours(self, unit_id: UnitId) -> set[Direction]:
        """The directions that the neighbour holds."""
        return {t for t in Direction if self._holders.get((unit_id, t)) == _NEIGHBOURS}
