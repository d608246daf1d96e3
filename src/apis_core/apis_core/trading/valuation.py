"""One unit's value rule at work: from what it has seen to the section that holds now."""

from __future__ import annotations

from apis_core.config.policy import Policy
from apis_core.config.scenario import Section
from apis_core.config.value_rule import Forecast, ValueRule
from apis_core.trading.energy_history import EnergyHistory
from apis_core.trading.energy_worth import EnergyWorth, energy_worth
from apis_core.trading.value_section import transfer, value_section

__all__ = ["Valuation"]


class Valuation:
    """What a unit reckons with; it reckons anew when another hour is known.

    Args:
        rule: What it knows of its house.
        policy: Of the cluster.
        capacity_wh: Of its battery, > 0. [Wh]
        history: What it has seen of its sun and load.

    Attributes:
        history: The same; whoever has the meters adds to it.
    """

    def __init__(
        self, rule: ValueRule, policy: Policy, capacity_wh: float, history: EnergyHistory
    ) -> None:
        self.history = history
        self._rule = rule
        self._policy = policy
        self._capacity_wh = capacity_wh
        self._way = transfer(rule, policy, policy.deal_current_a)
        self._hour = -1  # of the history when it reckoned last
        self._worth: EnergyWorth | None = None
        self._section: Section | None = None

    def is_of(self, rule: ValueRule, policy: Policy, capacity_wh: float) -> bool:
        """Whether it goes by these."""
        return (self._rule, self._policy, self._capacity_wh) == (rule, policy, capacity_wh)

    @property
    def worth(self) -> EnergyWorth:
        """What a watt-hour is worth now."""
        if self._worth is None or self._hour != self.history.next_hour:
            is_blind = self._rule.forecast is Forecast.NONE
            days = [] if is_blind else self.history.days_ahead()
            worth = energy_worth(self._rule, self._capacity_wh, days)
            self._hour = self.history.next_hour
            if worth != self._worth:
                self._worth, self._section = worth, None
        return self._worth

    @property
    def section(self) -> Section:
        """The bands and prices that follow; the same object as long as they do not change."""
        worth = self.worth
        if self._section is None:
            self._section = value_section(worth, self._way, self._policy)
        return self._section
