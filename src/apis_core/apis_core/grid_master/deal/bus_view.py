"""What a deal is told about the bus that it shares with others."""

from __future__ import annotations

from dataclasses import dataclass

from apis_core.model.types import Direction

__all__ = ["BusView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BusView:
    """The bus as one deal needs to know it.

    Attributes:
        is_alone: Whether no other deal is on the bus.
        is_handed_over: Whether its voltage is just passing from one unit to another.
        stops_first: The direction whose current goes first when a deal ends.
    """

    is_alone: bool = False
    is_handed_over: bool = False
    stops_first: Direction = Direction.DISCHARGE
