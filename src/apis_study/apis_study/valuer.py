"""The value rule of one unit of a study: the core's, fed from the counters of its house."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apis_core.config.policy import Policy
from apis_core.config.scenario import Section
from apis_core.config.value_rule import ValueRule
from apis_core.trading.energy_history import EnergyHistory
from apis_core.trading.valuation import Valuation

if TYPE_CHECKING:
    import apis_control

__all__ = ["HOUR_S", "Valuer"]

HOUR_S = 3600.0
_GRAIN_S = 1.0  # so near to the full hour is on it
_CURTAILED_WH = 1.0  # less is rounding


class Valuer:
    """Feeds the core's valuation with what a unit can measure: sun that is used, and load.

    Args:
        rule: What the unit knows of its house.
        policy: Of the cluster.
        run: Its house.
    """

    def __init__(self, rule: ValueRule, policy: Policy, run: apis_control.HouseRun) -> None:
        self._run = run
        self._valuation = Valuation(rule, policy, run.capacity_wh, EnergyHistory())
        self._began: tuple[int, float] | None = None  # the first full hour, and when it was
        self._seen = (0.0, 0.0, 0.0)

    def section(self, now_s: float, second_of_day: float) -> Section:
        """The section that holds for the hour that begins, or has begun."""
        past_s = second_of_day % HOUR_S
        if min(past_s, HOUR_S - past_s) < _GRAIN_S:
            self._take_hour(now_s, second_of_day)
        return self._valuation.section

    def _take_hour(self, now_s: float, second_of_day: float) -> None:
        run = self._run
        counted = (run.solar_wh, run.load_wh + run.unserved_wh, run.curtailed_wh)
        if self._began is None:
            self._began = round(second_of_day / HOUR_S), now_s
        else:
            first, began_s = self._began
            hour = first + round((now_s - began_s) / HOUR_S) - 1
            solar_wh, load_wh, curtailed_wh = (
                now - before for now, before in zip(counted, self._seen, strict=True)
            )
            is_curtailed = curtailed_wh > _CURTAILED_WH
            self._valuation.history.add(hour, solar_wh, load_wh, is_curtailed=is_curtailed)
        self._seen = counted
