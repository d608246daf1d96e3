"""From a state of charge to a deal: what to ask for, accept and choose, and how much it becomes.

The rules are pure functions of the scenario; :class:`Negotiation` is the window in which one
request collects its answers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from apis_core.config.error_messages import NUMBER_LIMIT
from apis_core.config.policy import Policy
from apis_core.config.scenario import Rule, Rules, Section, band_of
from apis_core.model.messages import Deal, InterchangeAccept, InterchangeRequest
from apis_core.model.types import NOBODY, Direction, SelectionStrategy, UnitId

__all__ = [
    "MOST_CURRENT_A",
    "MOST_ENERGY_WH",
    "Negotiation",
    "Offer",
    "choose_accept",
    "deal_energy_wh",
    "evaluate_accept",
    "evaluate_request",
    "why_no_deal_size",
]

# Limits of a deal by hand. More is a typing error; a policy may still name larger deals.
MOST_ENERGY_WH = 100_000.0
MOST_CURRENT_A = 1000.0


@dataclass(frozen=True, slots=True)
class Offer:
    """What the scenario would ask for or give.

    Attributes:
        direction: Own direction.
        energy_wh: Whole watt-hours, > 0. [Wh]
        price_point_per_wh: Limit of the own side; None = any price. [point/Wh]
        pair_unit_id: The only partner that will do; NOBODY = anyone.
    """

    direction: Direction
    energy_wh: float
    price_point_per_wh: float | None
    pair_unit_id: UnitId


def evaluate_request(section: Section, remaining_wh: float) -> Offer | None:
    """What to ask for now; None = nothing. Charging is looked at before discharging.

    Args:
        section: The scenario's section for this time of day.
        remaining_wh: Energy in the battery, with deals under way already added or taken off. [Wh]
    """
    rules = section.request.get(band_of(section, remaining_wh) or "")
    for direction in (Direction.CHARGE, Direction.DISCHARGE):
        rule = _rule_of(rules, direction)
        if rule is not None:  # only one direction is ever used, as in the original
            return _offer(direction, rule, remaining_wh)
    return None


def evaluate_accept(
    section: Section, remaining_wh: float, request: InterchangeRequest, unit_id: UnitId
) -> Offer | str:
    """What to answer to a request: everything this unit could give or take, or the reason why not.

    Args:
        section: The scenario's section for this time of day.
        remaining_wh: As for :func:`evaluate_request`. [Wh]
        request: The request.
        unit_id: This unit.
    """
    if request.pair_unit_id not in (NOBODY, unit_id):
        return f"asks only {request.pair_unit_id}"
    band = band_of(section, remaining_wh)
    own_type = request.type.opposite
    rule = _rule_of(section.accept.get(band or ""), own_type)
    if rule is None:
        return f"does not {own_type.name.lower()} when {band or 'in no band'}"
    if rule.pair_unit_id not in (None, NOBODY, request.unit_id):
        return f"deals only with {rule.pair_unit_id}"
    if section.selection is SelectionStrategy.VALUE:  # whose answers hold no slot in vain
        reason = _why_not_price(request, rule.price_point_per_wh)
        if reason:
            return reason
    offer = _offer(own_type, rule, remaining_wh)
    return offer or f"nothing to {own_type.name.lower()} up to the limit of {rule.limit_wh:g} Wh"


def choose_accept(
    request: InterchangeRequest,
    accepts: Collection[InterchangeAccept],
    strategy: SelectionStrategy,
) -> InterchangeAccept | None:
    """The best of the accepts, in the order in which they came; None = none will do.

    `amount` takes the largest energy. `pointAndAmount` keeps the prices within the request's limit
    (a missing price on either side is any price), takes the best price for the requester, then the
    largest energy. `value` keeps the same prices and takes the most gain: what the price is better
    than the request's limit, times the energy. The earliest wins a tie.
    """
    candidates = [
        accept
        for accept in accepts
        if accept.type is request.type.opposite
        and (accept.energy_wh or 0.0) > 0.0
        and (accept.current_a or 0.0) > 0.0
        and request.pair_unit_id in (NOBODY, accept.unit_id)
    ]
    sign = 1.0 if request.type is Direction.CHARGE else -1.0
    # an accept without a price takes whatever the requester's limit is
    limit = request.price_point_per_wh or 0.0
    if strategy is not SelectionStrategy.AMOUNT:
        candidates = [a for a in candidates if not _why_not_price(request, a.price_point_per_wh)]
    if strategy is SelectionStrategy.VALUE:

        def gain(accept: InterchangeAccept) -> float:
            price = limit if accept.price_point_per_wh is None else accept.price_point_per_wh
            return sign * (limit - price) * min(request.energy_wh, accept.energy_wh or 0.0)

        return max(candidates, key=gain, default=None)
    if strategy is SelectionStrategy.POINT_AND_AMOUNT:
        return min(
            candidates,
            key=lambda accept: (
                sign * (limit if accept.price_point_per_wh is None else accept.price_point_per_wh),
                -(accept.energy_wh or 0.0),
            ),
            default=None,
        )
    return max(candidates, key=lambda accept: accept.energy_wh or 0.0, default=None)


def why_no_deal_size(
    energy_wh: float,
    current_a: float | None = None,
    price_point_per_wh: float | None = None,
    policy: Policy | None = None,
) -> tuple[str, str]:
    """What is wrong with the numbers of a deal that somebody wants.

    Args:
        energy_wh: Energy. [Wh]
        current_a: Current; None = the policy's. [A]
        price_point_per_wh: Price; None = none. [point/Wh]
        policy: Of the cluster, if it is known.

    Returns:
        Which number (``energy_wh``, ``current_a``, ``price_point_per_wh``) and what it must be;
        both empty if nothing is wrong.
    """
    most_wh = max(MOST_ENERGY_WH, policy.deal_energy_max_wh if policy else 0.0)
    most_a = max(MOST_CURRENT_A, policy.deal_current_a if policy else 0.0)
    if not 0.0 < energy_wh <= most_wh:
        return "energy_wh", f"must be above 0 and at most {most_wh:.12g} Wh"
    if current_a is not None and not 0.0 < current_a <= most_a:
        return "current_a", f"must be above 0 and at most {most_a:.12g} A"
    if price_point_per_wh is not None and not abs(price_point_per_wh) <= NUMBER_LIMIT:
        return "price_point_per_wh", f"must be from {-NUMBER_LIMIT:.0f} to {NUMBER_LIMIT:.0f}"
    return "", ""


def deal_energy_wh(requested_wh: float, accepted_wh: float, policy: Policy) -> float:
    """The energy that a deal becomes, from what was requested and accepted. [Wh]

    The smaller of both, at most the policy's maximum, in whole units; 0 = too little for a deal.
    """
    energy_wh = min(requested_wh, accepted_wh, policy.deal_energy_max_wh)
    energy_wh = energy_wh // policy.deal_energy_unit_wh * policy.deal_energy_unit_wh
    return float(energy_wh) if energy_wh >= policy.deal_energy_min_wh else 0.0


@dataclass(slots=True)
class Negotiation:
    """The answers to one request.

    Attributes:
        request: What was asked.
        until_ns: End of the window.
        awaited_ids: Members whose answer is still out. When nobody is left, the window need not be
            waited for.
    """

    request: InterchangeRequest
    until_ns: int
    awaited_ids: set[UnitId]
    accepts: list[InterchangeAccept] = field(default_factory=list)
    declined: dict[UnitId, str] = field(default_factory=dict)

    def hear(self, accept: InterchangeAccept) -> None:
        """Note an answer. Late, foreign and second ones are ignored."""
        if accept.request_id != self.request.request_id or accept.unit_id not in self.awaited_ids:
            return
        self.awaited_ids.discard(accept.unit_id)
        if accept.type is None:
            self.declined[accept.unit_id] = accept.reason
        else:
            self.accepts.append(accept)

    def is_over(self, now_ns: int) -> bool:
        """Whether the window is closed: all units have answered, or its time is over."""
        return not self.awaited_ids or now_ns >= self.until_ns

    def conclude(self, strategy: SelectionStrategy, policy: Policy) -> Deal | str:
        """The deal that comes of it, or why there is none."""
        accept = choose_accept(self.request, self.accepts, strategy)
        if accept is None or accept.energy_wh is None or accept.current_a is None:
            reasons = ", ".join(f"{unit} {why}" for unit, why in sorted(self.declined.items()))
            silent = ", ".join(sorted(self.awaited_ids))
            parts = [reasons, f"no answer from {silent}" if silent else ""]
            return "; ".join(part for part in parts if part) or "no accept suits"
        energy_wh = deal_energy_wh(self.request.energy_wh, accept.energy_wh, policy)
        if energy_wh == 0.0:
            return f"{accept.unit_id} offers {accept.energy_wh:g} Wh, too little for a deal"
        charges = self.request.type is Direction.CHARGE
        asked, answered = self.request.unit_id, accept.unit_id
        limit, answer = self.request.price_point_per_wh, accept.price_point_per_wh
        price = limit if charges else answer  # the charging unit's price
        if strategy is SelectionStrategy.VALUE and limit is not None and answer is not None:
            price = 0.5 * (limit + answer)  # both gain the same by it
        return Deal(
            deal_id=self.request.request_id,
            request_unit_id=asked,
            accept_unit_id=answered,
            discharge_unit_id=answered if charges else asked,
            charge_unit_id=asked if charges else answered,
            energy_wh=energy_wh,
            current_a=min(self.request.current_a, accept.current_a),
            price_point_per_wh=price,
            meter=policy.meter,
        )


def _rule_of(rules: Rules | None, direction: Direction) -> Rule | None:
    if rules is None:
        return None
    return rules.charge if direction is Direction.CHARGE else rules.discharge


def _offer(direction: Direction, rule: Rule, remaining_wh: float) -> Offer | None:
    missing_wh = rule.limit_wh - remaining_wh
    energy_wh = float(int(missing_wh if direction is Direction.CHARGE else -missing_wh))
    if energy_wh <= 0.0:
        return None
    return Offer(direction, energy_wh, rule.price_point_per_wh, rule.pair_unit_id or NOBODY)


def _why_not_price(request: InterchangeRequest, price: float | None) -> str:
    """Why a price does not suit a request; empty = it does. A missing one on either side does."""
    limit = request.price_point_per_wh
    if limit is None or price is None:
        return ""
    if request.type is Direction.CHARGE:
        return "" if price <= limit else f"gives for {price:g}, not for {limit:g}"
    return "" if price >= limit else f"pays {price:g}, not {limit:g}"
