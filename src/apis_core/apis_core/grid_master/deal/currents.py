"""Orders of currents, each with the energy at which it ends by itself.

So that the agreed amount is met without waiting for a poll, a unit that holds a current gets an
energy limit for its own counter, refined from the ratio of both meters while the deal runs; it
stops itself at that instant.
"""

from __future__ import annotations

from apis_core.converter.energy_limit import (
    first_limit_wh,
    flowing_limit_wh,
    is_comparable,
    resting_limit_wh,
)
from apis_core.events import Effect
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.grid_master.deal.side import DealSide
from apis_core.model.types import ControlOperation
from apis_core.model.units import SECOND_NS, wh_from_w

__all__ = ["Currents"]

_LEAD_NS = SECOND_NS // 2  # the current that relieves the reference ends so much earlier


class Currents:
    """Orders the currents of one deal.

    Attributes:
        runs: How often they have been started, >= 0.
        is_frozen: Whether the reference books nothing for the deal until its next run.
    """

    def __init__(self, progress: DealProgress) -> None:
        self._progress = progress
        self.runs = 0
        self.is_frozen = False

    def order(self, side: DealSide, now_ns: int) -> list[Effect]:
        """Let a side's current begin."""
        progress = self._progress
        side.is_started = True
        side.ordered_ns = now_ns
        side.limit_reached_ns = None
        if side is progress.reference:
            self.is_frozen = False
        limit_wh = self.limit_wh(side, is_at_rest=True)
        return progress.ask(
            side,
            side.direction.control_operation,
            now_ns,
            grid_current_a=abs(side.share_a),
            energy_limit_wh=limit_wh,
        )

    def hold(self, side: DealSide, now_ns: int) -> list[Effect]:
        """Renew a side's current, with its limit as it is known now."""
        limit_wh = self.limit_wh(side, is_at_rest=False)
        return self._progress.ask(side, ControlOperation.HOLD, now_ns, energy_limit_wh=limit_wh)

    def freeze(self, reference: DealSide, now_ns: int) -> list[Effect]:
        """Let the reference book nothing more for the deal until its next run."""
        self.is_frozen = True
        return self._progress.ask(reference, ControlOperation.CURRENT, now_ns, grid_current_a=0.0)

    def run_again(self, side: DealSide, now_ns: int) -> list[Effect]:
        """Bring the rest, if the limit was short: it is reckoned from meters that stand still."""
        self.runs += 1
        reference = self._progress.reference
        effects: list[Effect] = []
        if self.is_frozen and reference is not None:
            effects += self.order(reference, now_ns)
        return [*effects, *self.order(side, now_ns)]

    def limit_wh(self, side: DealSide, *, is_at_rest: bool) -> float | None:
        """Where a side's share is to end by itself; None = where it was told before."""
        progress = self._progress
        deal = progress.deal
        own, meter = side.sample, progress.meter.sample
        reference = progress.reference
        if side is reference:
            return None
        if (own is None or meter is None) and not is_at_rest:
            return None  # an earlier grid master started it and knew better where it ends
        if own is None or meter is None:
            return first_limit_wh(deal, own.grid_wh if own else 0.0)
        is_limited = side is progress.meter or side is progress.currents[0]
        if not is_limited or not is_comparable(deal, own, meter):
            return first_limit_wh(deal, own.grid_wh)
        if is_at_rest:
            return resting_limit_wh(deal, own, meter)
        if side is progress.meter or (self.runs > 1 and reference is not None):
            return None  # it knows best itself, or the limit is exact already
        own_before, meter_before = side.earlier_sample, progress.meter.earlier_sample
        earlier = (own_before, meter_before) if own_before and meter_before else None
        limit_wh = flowing_limit_wh(deal, own, meter, earlier)
        if reference is None:
            # the other one's current runs through a reference that may be full: it must not be
            # the first to go
            limit_wh -= wh_from_w(own.flow_w, _LEAD_NS)
        return max(limit_wh, own.grid_wh)
