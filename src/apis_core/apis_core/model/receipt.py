"""What a unit counted for a deal: the end of its account."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one unit counted for one deal.

    Attributes:
        deal_id: The deal.
        grid_moved_wh: Energy over the bus terminal in the deal's direction, >= 0. [Wh]
        battery_moved_wh: Energy on the battery side of the converter, >= 0. [Wh]
        reason: How it ended for this unit; empty = it is open or ended as agreed.
    """

    deal_id: str
    grid_moved_wh: float
    battery_moved_wh: float
    reason: str = ""
