"""Which unit should hold the bus voltage.

Units of large capacity are preferred; else the side that the policy names. When the deals of the
present reference are over while others go on, the protocol's three classes decide (7.6): deals
whose unit is the reference already, deals with a large unit, any deal. The newest deal of the best
class names the unit.
"""

from __future__ import annotations

from collections.abc import Collection

from apis_core.config.policy import Policy
from apis_core.model.messages import Deal
from apis_core.model.types import NOBODY, UnitId

__all__ = ["better_reference", "first_reference", "next_reference"]


def first_reference(deal: Deal, policy: Policy) -> UnitId:
    """The unit that brings a dead bus up for a deal.

    It is the large one, or else the one on the policy's side; also if both are large.
    """
    preferred, other = _sides(deal, policy)
    large = policy.large_capacity_unit_ids
    return other if other in large and preferred not in large else preferred


def better_reference(deal: Deal, present_id: UnitId, policy: Policy) -> UnitId:
    """The unit of a deal that should take over from the present reference, once it joins the bus.

    It is a large one, if the present one is not large. Nobody = all stays as it is.
    """
    large = policy.large_capacity_unit_ids
    if present_id in large:
        return NOBODY
    return next((unit_id for unit_id in _sides(deal, policy) if unit_id in large), NOBODY)


def next_reference(
    deals: Collection[Deal],
    present_id: UnitId,
    policy: Policy,
    excluded_ids: Collection[UnitId] = (),
) -> tuple[UnitId, str] | None:
    """The unit that takes over the bus when the present reference's own deal ends.

    Args:
        deals: That go on, without the one that ends.
        present_id: Who holds it now.
        policy: Names the large units and the preferred side.
        excluded_ids: Units that would not.

    Returns:
        The unit and the deal in whose name it takes over; None if nobody is left.
    """
    newest_first = sorted(deals, key=lambda deal: (deal.started_ns, deal.deal_id), reverse=True)
    for deal in newest_first:
        if deal.direction_of(present_id) is not None and present_id not in excluded_ids:
            return present_id, deal.deal_id
    able = [
        (unit_id, deal.deal_id)
        for deal in newest_first
        for unit_id in _sides(deal, policy)
        if unit_id not in excluded_ids
    ]
    large = (pair for pair in able if pair[0] in policy.large_capacity_unit_ids)
    return next(large, able[0] if able else None)


def _sides(deal: Deal, policy: Policy) -> tuple[UnitId, UnitId]:
    """Both units, the one on the policy's side first."""
    side = policy.voltage_reference_side
    return deal.unit_id_of(side), deal.unit_id_of(side.opposite)
