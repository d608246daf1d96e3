"""A unit is the grid master as long as it holds the lease, and no longer."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from apis_core.events import Effect
from apis_core.grid_master.grid_master import GridMaster
from apis_core.model.messages import Deal, UnitStatus
from apis_core.unit.unit_state import UnitState

__all__ = ["follow_lease"]


def follow_lease(
    state: UnitState,
    own_status: UnitStatus | None,
    known_deals: Mapping[str, Deal],
    random: Random,
    now_ns: int,
) -> list[Effect]:
    """Become grid master with a new lease, and step down without one.

    Args:
        state: The unit's state.
        own_status: What the unit said last; None = nothing yet.
        known_deals: Records of deals that are not over, by id.
        random: Source of chance for the grid master.
        now_ns: Present time.
    """
    term = state.election.term
    if not state.election.is_master(now_ns):
        # what it ran ends by the units' hold times, or by its successor
        state.grid_master = None
        return []
    if state.grid_master is not None and state.grid_master.term == term:
        return []
    statuses = state.fresh_statuses(now_ns)
    if own_status is not None:
        statuses[state.unit_id] = own_status
    state.grid_master = GridMaster(
        unit_id=state.unit_id,
        term=term,
        policy=state.policy,
        timing=state.timing,
        random=random,
        known_deals=known_deals,
        statuses=statuses,
        heard_ns={unit_id: heard for unit_id, (_, heard) in state.peers.items()},
        now_ns=now_ns,
    )
    # a fault of the whole cluster may have come while nobody led: nothing is gone on with then
    known = [
        effect
        for fault in state.faults.scrams(now_ns)
        if fault.age_ns < state.policy.global_quarantine_ns  # what is older has stopped all
        for effect in state.grid_master.hear_fault(fault, now_ns)
    ]
    return [*known, *state.grid_master.begin(now_ns)]
