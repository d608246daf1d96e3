"""What a unit would ask for and accept, by the energy in its battery.

The rules themselves are the core's. A study needs to know besides at which energies their answer
changes, so that it can jump from one to the next: between two of these the answer is the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from apis_core.config.policy import Policy
from apis_core.config.scenario import Rule, Section, band_of
from apis_core.model.messages import InterchangeRequest
from apis_core.model.types import NOBODY, Direction, UnitId
from apis_core.trading.negotiation import Offer, evaluate_accept, evaluate_request

__all__ = ["Attitude", "AttitudeTable"]


@dataclass(frozen=True, slots=True)
class Attitude:
    """What a unit would do at an energy.

    Attributes:
        low_wh: From which energy on it holds. [Wh]
        high_wh: Up to which one, not included. [Wh]
        band: The name of the band.
        wish: What it asks for; None = nothing.
        accepts: What it would give or take if it were asked.
    """

    low_wh: float
    high_wh: float
    band: str
    wish: Direction | None
    accepts: frozenset[Direction]


class AttitudeTable:
    """The attitudes of a unit in one section of its scenario.

    Args:
        section: The section.
        policy: With the least energy of a deal.
        unit_id: The unit.
    """

    def __init__(self, section: Section, policy: Policy, unit_id: UnitId) -> None:
        self._least_wh = max(float(policy.deal_energy_min_wh), 1.0)
        self._current_a = policy.deal_current_a
        self._section, self._unit_id = section, unit_id
        self._edges_wh = sorted(set(self._changes()))
        bounds = pairwise((-inf, *self._edges_wh, inf))
        self._attitudes = [self._between(low_wh, high_wh) for low_wh, high_wh in bounds]

    def at(self, energy_wh: float) -> Attitude:
        """The attitude at an energy. [Wh]"""
        return self._attitudes[bisect_right(self._edges_wh, energy_wh)]

    def _changes(self) -> Iterator[float]:
        for band in self._section.bands:
            yield from (edge for edge in (band.lower_wh, band.upper_wh) if edge is not None)
        for is_charge, rule in self._rules():
            # a whole number of watt-hours, and enough for a deal
            yield rule.limit_wh + (-self._least_wh if is_charge else self._least_wh)

    def _rules(self) -> Iterator[tuple[bool, Rule]]:
        for rules in (*self._section.request.values(), *self._section.accept.values()):
            if rules.charge is not None:
                yield True, rules.charge
            if rules.discharge is not None:
                yield False, rules.discharge

    def _between(self, low_wh: float, high_wh: float) -> Attitude:
        if low_wh == -inf and high_wh == inf:
            middle_wh = 0.0
        elif low_wh == -inf:
            middle_wh = high_wh - 1.0
        else:
            middle_wh = low_wh + 1.0 if high_wh == inf else 0.5 * (low_wh + high_wh)
        offer = evaluate_request(self._section, middle_wh)
        return Attitude(
            low_wh,
            high_wh,
            band=band_of(self._section, middle_wh) or "",
            wish=offer.direction if self._is_enough(offer) and offer else None,
            accepts=frozenset(d for d in Direction if self._accepts(d, middle_wh)),
        )

    def _accepts(self, direction: Direction, energy_wh: float) -> bool:
        """Whether somebody who asks could be accepted; whom a rule names may ask, too."""
        named = {rule.pair_unit_id or NOBODY for _, rule in self._rules()} | {NOBODY}
        offers = [
            evaluate_accept(
                self._section,
                energy_wh,
                InterchangeRequest(
                    request_id="",
                    unit_id=unit_id,
                    type=direction.opposite,
                    energy_wh=self._least_wh,
                    current_a=self._current_a,
                    price_point_per_wh=None,
                    pair_unit_id=NOBODY,
                    efficient_grid_voltage_v=None,
                    window_ns=0,
                ),
                self._unit_id,
            )
            for unit_id in sorted(named)
        ]
        return any(self._is_enough(offer) for offer in offers)

    def _is_enough(self, offer: Offer | str | None) -> bool:
        return isinstance(offer, Offer) and offer.energy_wh >= self._least_wh
