"""Read-only pictures of a unit and of its grid master, for tests, tools and logs.

Nothing in a picture follows what happens later, and nobody steers a unit through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apis_core.converter import ShareSnapshot
from apis_core.deal import Phase
from apis_core.hardware import Hardware
from apis_core.messages import ConverterReading, Deal, Fault, UnitStatus
from apis_core.policy import Policy
from apis_core.types import Direction, OperationMode, UnitId
from apis_core.voltage_reference import Stage

__all__ = ["DealSnapshot", "GridMasterSnapshot", "UnitSnapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DealSnapshot:
    """A deal as its grid master sees it.

    Attributes:
        deal: Its record.
        phase: What is being done for it.
        runs: How often its currents have been started, >= 0.
        is_between_runs: Whether nothing is counted for it until its next run.
        readings: The newest converter reading of each unit that has answered.
    """

    deal: Deal
    phase: Phase
    runs: int
    is_between_runs: bool
    readings: Mapping[UnitId, ConverterReading]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridMasterSnapshot:
    """What a grid master is doing.

    Attributes:
        term: Its term, > 0.
        reference_id: Who holds the bus voltage, or is to; empty = nobody.
        reference_stage: What is being done with the bus voltage.
        hand_over_step: How far a hand-over has come, 0..3.
        deals: By id, those that are not over.
        next_deal_id: The deal whose currents start next; None = none.
    """

    term: int
    reference_id: UnitId
    reference_stage: Stage
    hand_over_step: int
    deals: Mapping[str, DealSnapshot]
    next_deal_id: str | None


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
        policy: Of the cluster, as it holds for this unit.
        policy_hash: Of that.
        coming_policy_hash: Of a newer one that it is ready for; empty = none.
        hardware: Of this unit.
        band: Of its battery in its scenario; empty = not known.
        peers: What the other units said last, and when that was heard [ns].
        open_deals: Records that it has heard of deals that are not over, by id.
        slot_deals: Deals that hold a slot, in the order in which they took it.
        slot_directions: Directions in which slots are taken or reserved.
        slot_capacity: How many deals may hold a slot, >= 0.
        shares: What each deal uses of its converter, by id.
        fault_codes: Of the faults that concern it.
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
