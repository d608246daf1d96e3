"""The records of deals that a unit has heard of: those that are open, and which are over."""

from __future__ import annotations

from collections.abc import Mapping

from apis_core.model.messages import Deal
from apis_core.trading.interlock import Interlock

__all__ = ["KnownDeals"]

_REMEMBERED = 200  # records, and as many ids of deals that are over


class KnownDeals:
    """Keeps the newest record of every deal that a unit has heard of.

    Args:
        interlock: The slots of the unit; what is still to move in a deal is noted on its slot.
    """

    def __init__(self, interlock: Interlock) -> None:
        self._interlock = interlock
        self._open: dict[str, Deal] = {}
        self._over: dict[str, None] = {}  # a late record does not revive a deal that is over

    @property
    def open(self) -> Mapping[str, Deal]:
        """The records of deals that are not over, by id."""
        return self._open

    def hear(self, deal: Deal) -> bool:
        """Keep a record of a deal; False if it is older than what is known.

        A deal is published once both of its units hold a slot: who has only reserved one for it
        was not chosen, and is free again.
        """
        self._interlock.release_reservation(deal.deal_id)
        known = self._open.get(deal.deal_id)
        if known is not None and (known.term, known.sequence) >= (deal.term, deal.sequence):
            return False
        if deal.deal_id in self._over:
            return False
        if deal.state.is_over:
            self._open.pop(deal.deal_id, None)
            self._over[deal.deal_id] = None
            if len(self._over) > _REMEMBERED:
                del self._over[next(iter(self._over))]
            return True
        self._open[deal.deal_id] = deal
        while len(self._open) > _REMEMBERED:
            del self._open[next(iter(self._open))]
        slot = self._interlock.held(deal.deal_id)
        if slot is not None:
            slot.energy_wh = max(deal.energy_wh - deal.moved_wh, 0.0)
        return True
