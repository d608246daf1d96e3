"""A read-only picture of a unit, for tests, tools and logs.

Nothing in a picture follows what happens later, and nobody steers a unit through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.converter.shares import ShareSnapshot
from apis_core.grid_master.snapshot import GridMasterSnapshot
from apis_core.model.messages import Deal, Fault, UnitStatus
from apis_core.model.types import Direction, OperationMode, UnitId
from apis_core.unit.unit_state import UnitState

__all__ = ["UnitSnapshot", "picture"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSnapshot:
    """What a unit knows and does.

    Attributes:
        unit_id: Such as E001.
        status: What it said last; None = nothing yet.
        term: The highest term that it has seen, >= 0.
        majority: How many votes elect a grid master, > 0.
        grid_master_id: Whose orders it obeys; empty = nobody's.
        grid_master: What it does as the grid master; None = it is none.
        mode: The operation mode that it goes by.
        policy: The policy of the cluster, as it holds for this unit.
        policy_hash: The hash of that policy.
        coming_policy_hash: The hash of a newer policy that it is ready for; empty = none.
        hardware: What its battery and converter can bear.
        band: The band of its battery in its scenario; empty = not known.
        peers: What the other units said last, and when that was heard [ns].
        open_deals: Records that it has heard of deals that are not over, by id.
        slot_deals: Deals that hold a slot, in the order in which they took it.
        slot_directions: Directions in which slots are taken or reserved.
        slot_capacity: How many deals may hold a slot, >= 0.
        shares: What each deal uses of its converter, by id.
        fault_codes: Codes of the faults that concern it.
        faults: Faults that it knows of and that are not over, each with when it will be. [ns]
        why_not_dealing: Why it neither asks nor accepts; empty = it does.
    """

    unit_id: UnitId
    status: UnitStatus | None
    term: int
    majority: int
    grid_master_id: UnitId
    grid_master: GridMasterSnapshot | None
    mode: OperationMode
    policy: Policy
    policy_hash: str
    coming_policy_hash: str
    hardware: Hardware
    band: str
    peers: Mapping[UnitId, tuple[UnitStatus, int]]
    open_deals: Mapping[str, Deal]
    slot_deals: tuple[Deal, ...]
    slot_directions: frozenset[Direction]
    slot_capacity: int
    shares: Mapping[str, ShareSnapshot]
    fault_codes: tuple[str, ...]
    faults: tuple[tuple[Fault, int], ...]
    why_not_dealing: str


def picture(
    state: UnitState,
    status: UnitStatus | None,
    coming_policy_hash: str,
    open_deals: Mapping[str, Deal],
    now_ns: int,
) -> UnitSnapshot:
    """A picture of a unit at this moment.

    Args:
        state: The unit's state.
        status: What it said last; None = nothing yet.
        coming_policy_hash: The hash of a newer policy that it is ready for; empty = none.
        open_deals: Records of deals that are not over, by id.
        now_ns: Present time.
    """
    grid_master = state.grid_master
    return UnitSnapshot(
        unit_id=state.unit_id,
        status=status,
        term=state.election.term,
        majority=state.election.majority,
        grid_master_id=state.election.grid_master_id(now_ns),
        grid_master=grid_master.snapshot() if grid_master is not None else None,
        mode=state.modes.effective,
        policy=state.policy,
        policy_hash=state.policy_hash,
        coming_policy_hash=coming_policy_hash,
        hardware=state.hardware,
        band=state.band,
        peers=dict(state.peers),
        open_deals=dict(open_deals),
        slot_deals=state.interlock.deals,
        slot_directions=frozenset(state.interlock.directions),
        slot_capacity=state.interlock.capacity,
        shares=state.converter.shares,
        fault_codes=state.faults.codes(),
        faults=state.faults.known,
        why_not_dealing=state.why_not_dealing(now_ns),
    )
