"""What the lines can carry.

Before a deal starts, the worst case counts: deals start and stop one by one, so currents on either
side of a branch are not set off against each other (the protocol, 10.2). A limit of the whole bus
holds beside those of its branches. While deals run, the measured net current of every branch is
watched (10.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from apis_core.config.branches import Branch
from apis_core.config.policy import Policy
from apis_core.model.messages import Deal
from apis_core.model.types import UnitId

__all__ = ["overloaded", "why_not_activate"]

_SLACK_A = 1e-9  # sums of floats


def why_not_activate(running: Sequence[Deal], new: Deal, policy: Policy) -> str:
    """Why the lines cannot carry one more deal; empty = they can.

    Args:
        running: Deals whose currents flow, or may.
        new: The one that is to start.
        policy: With the limits of the whole bus and of its branches, where there are any.
    """
    deals = (*running, new)
    total_a = sum(deal.current_a for deal in deals)
    limit_a = policy.total_deal_current_max_a
    if limit_a is not None and total_a > limit_a + _SLACK_A:
        return f"the bus carries at most {limit_a:g} A, and with this deal {total_a:g} A"
    for branch in policy.topology or ():
        for side, unit_ids in (
            ("forward", branch.forward_unit_ids),
            ("backward", branch.backward_unit_ids),
        ):
            given_a = sum(deal.current_a for deal in deals if deal.discharge_unit_id in unit_ids)
            taken_a = sum(deal.current_a for deal in deals if deal.charge_unit_id in unit_ids)
            worst_a = max(given_a, taken_a)
            if worst_a > branch.capacity_a + _SLACK_A:
                return (
                    f"branch {branch.id} carries at most {branch.capacity_a:g} A, "
                    f"and with this deal {worst_a:g} A on its {side} side"
                )
    return ""


def overloaded(
    currents_a: Mapping[UnitId, float | None],
    topology: Sequence[Branch],
    *,
    assumed_a: Mapping[UnitId, float] | None,
    allowance_a: float = 0.0,
) -> list[tuple[Branch, str]]:
    """Branches whose net current is above what they carry, each with what was found.

    A unit whose current is not known counts with the most that it may have: what cannot be seen
    is no reason to believe that all is well.

    Args:
        currents_a: Measured, by unit; None = not known. [A, + = from the bus into the unit]
        topology: The branches.
        assumed_a: The most that each unit's deals may bring it, >= 0; 0 if not named. None = not
            known either, so that a branch with a unit unseen is taken for overloaded. [A]
        allowance_a: Error of the meters, >= 0. [A]
    """
    found = []
    for branch in topology:
        unseen = [u for u in branch.forward_unit_ids if currents_a.get(u) is None]
        seen_a = sum(currents_a.get(unit_id) or 0.0 for unit_id in branch.forward_unit_ids)
        if assumed_a is None:
            blind, unseen_a = unseen, inf if unseen else 0.0
        else:
            blind = [unit_id for unit_id in unseen if assumed_a.get(unit_id)]
            unseen_a = sum(assumed_a[unit_id] for unit_id in blind)
        worst_a = abs(seen_a) + unseen_a
        if worst_a <= branch.capacity_a + allowance_a:
            continue
        words = f"{worst_a:.2f} A on branch {branch.id}, which carries {branch.capacity_a:g} A"
        tail = f"; {', '.join(blind)} not seen" if blind else ""
        found.append((branch, words + tail))
    return found
