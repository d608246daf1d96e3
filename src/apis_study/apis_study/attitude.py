"""What a unit would ask for and accept, by the energy in its battery.

The rules themselves are the core's. A study needs to know besides at which energies their answer
changes, so that it can jump from one to the next: between two of these the answer is the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

from apis_core.config.policy import Policy
from apis_core.config.scenario import Rule, Section, band_of
from apis_core.model.messages import InterchangeRequest
from apis_core.model.types import NOBODY, Direction, SelectionStrategy, UnitId
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
        accepts: What it would give or take if it were asked, at which price; None = at any.
        wish_price: The price that it asks for or pays; None = any. [point/Wh]
    """

    low_wh: float
    high_wh: float
    band: str
    wish: Direction | None
    accepts: Mapping[Direction, float | None]
    wish_price: float | None = None


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
        bands = section.bands
        edges = {edge for b in bands for edge in (b.lower_wh, b.upper_wh) if edge is not None}
        self._edges_wh = sorted(edges)
        self._attitudes: list[Attitude] = []  # those that were asked for

    def at(self, energy_wh: float) -> Attitude:
        """The attitude at an energy. [Wh]"""
        for attitude in self._attitudes:
            if attitude.low_wh <= energy_wh < attitude.high_wh:
                return attitude
        attitude = self._around(energy_wh)
        self._attitudes.append(attitude)
        return attitude

    def _around(self, energy_wh: float) -> Attitude:
        index = bisect_right(self._edges_wh, energy_wh)
        low_wh = self._edges_wh[index - 1] if index else -inf
        high_wh = self._edges_wh[index] if index < len(self._edges_wh) else inf
        band = band_of(self._section, energy_wh) or ""
        rules = list(self._rules(band))
        for is_charge, rule in rules:
            # a whole number of watt-hours, and enough for a deal
            edge_wh = rule.limit_wh + (-self._least_wh if is_charge else self._least_wh)
            if edge_wh <= energy_wh:
                low_wh = max(low_wh, edge_wh)
            else:
                high_wh = min(high_wh, edge_wh)
        return self._between(low_wh, high_wh, band, rules)

    def _rules(self, band: str) -> Iterator[tuple[bool, Rule]]:
        for rules in (self._section.request.get(band), self._section.accept.get(band)):
            if rules is not None and rules.charge is not None:
                yield True, rules.charge
            if rules is not None and rules.discharge is not None:
                yield False, rules.discharge

    def _between(
        self, low_wh: float, high_wh: float, band: str, rules: list[tuple[bool, Rule]]
    ) -> Attitude:
        if low_wh == -inf and high_wh == inf:
            middle_wh = 0.0
        elif low_wh == -inf:
            middle_wh = high_wh - 1.0
        else:
            middle_wh = low_wh + 1.0 if high_wh == inf else 0.5 * (low_wh + high_wh)
        named = sorted({rule.pair_unit_id or NOBODY for _, rule in rules} | {NOBODY})
        offer = evaluate_request(self._section, middle_wh)
        wish = offer if offer is not None and self._is_enough(offer) else None
        # by bands, whoever is asked answers at any price, and the one who asks chooses
        by_value = self._section.selection is SelectionStrategy.VALUE
        answers = {d: self._answer(d, middle_wh, named) for d in Direction}
        return Attitude(
            low_wh,
            high_wh,
            band=band,
            wish=wish.direction if wish else None,
            accepts={
                d: answer.price_point_per_wh if by_value else None
                for d, answer in answers.items()
                if answer is not None
            },
            wish_price=wish.price_point_per_wh if wish and by_value else None,
        )

    def _answer(self, direction: Direction, energy_wh: float, named: list[UnitId]) -> Offer | None:
        """What somebody who asks could get; whom a rule names may ask, too."""
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
            for unit_id in named
        ]
        return next((o for o in offers if isinstance(o, Offer) and self._is_enough(o)), None)

    def _is_enough(self, offer: Offer) -> bool:
        return offer.energy_wh >= self._least_wh
