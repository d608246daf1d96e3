"""One deal of a study, from the locks of its slots to their release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apis_core.config.policy import Policy
from apis_core.model.messages import Deal
from apis_core.model.types import Direction, Meter
from apis_core.model.units import s_from_ns

if TYPE_CHECKING:
    from apis_study.trading_unit import TradingUnit

__all__ = ["DealFlow"]


class DealFlow:
    """A deal that both units have locked a slot for.

    Args:
        deal: As agreed.
        giver: The unit that discharges.
        taker: The unit that charges.
        policy: Says whose meter counts.

    Attributes:
        is_flowing: Whether its current flows.
        end_version: Of its end on the heap.
    """

    __slots__ = (
        "_moved_wh",
        "_rate_wh_per_s",
        "_since_ns",
        "deal",
        "end_version",
        "giver",
        "is_flowing",
        "meter",
        "taker",
    )

    def __init__(self, deal: Deal, giver: TradingUnit, taker: TradingUnit, policy: Policy) -> None:
        self.deal = deal
        self.giver, self.taker = giver, taker
        self.meter = taker if policy.metering_side is Direction.CHARGE else giver
        self.is_flowing = False
        self.end_version = 0
        self._moved_wh = 0.0
        self._rate_wh_per_s = 0.0
        self._since_ns = 0

    @property
    def units(self) -> tuple[TradingUnit, TradingUnit]:
        """Both units."""
        return self.giver, self.taker

    @property
    def ends_s(self) -> float:
        """When it has moved what was agreed, if its power stays. [s]"""
        left_wh = self.deal.energy_wh - self._moved_wh
        return s_from_ns(self._since_ns) + left_wh / max(self._rate_wh_per_s, 1e-9)

    @property
    def rate_wh_per_s(self) -> float:
        """What its meter counts now. [Wh/s]"""
        return self._rate_wh_per_s

    def moved_wh(self, now_ns: int) -> float:
        """What its meter has counted. [Wh]"""
        return self._moved_wh + self._rate_wh_per_s * s_from_ns(now_ns - self._since_ns)

    def left_wh(self, now_ns: int) -> float:
        """What is still to move. [Wh]"""
        return max(self.deal.energy_wh - self.moved_wh(now_ns), 0.0)

    def meter_flow(self, grid_w: float, loss_w: float, now_ns: int) -> None:
        """The power of the unit that meters has changed; the deal's part is that of its current.

        Args:
            grid_w: Of the whole converter, at the bus. [W]
            loss_w: Lost in it. [W]
            now_ns: Present time.
        """
        self._moved_wh = self.moved_wh(now_ns)
        self._since_ns = now_ns
        if not self.is_flowing:
            self._rate_wh_per_s = 0.0
            return
        power_w = abs(grid_w - loss_w if self.deal.meter is Meter.BATTERY else grid_w)
        share = self.deal.current_a / abs(self.meter.current_a)
        self._rate_wh_per_s = power_w * share / 3600.0
