"""Read-only pictures of a grid master, for tests, tools and logs.

Nothing in a picture follows what happens later, and nobody steers a unit through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apis_core.grid_master.bus_state import Stage
from apis_core.grid_master.deal.transitions import Phase
from apis_core.grid_master.hand_over import Step
from apis_core.model.messages import ConverterReading, Deal
from apis_core.model.types import UnitId

__all__ = ["DealSnapshot", "GridMasterSnapshot"]


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
        hand_over_step: How far a hand-over has come; None = none is under way.
        deals: By id, those that are not over.
        next_deal_id: The deal whose currents start next; None = none.
    """

    term: int
    reference_id: UnitId
    reference_stage: Stage
    hand_over_step: Step | None
    deals: Mapping[str, DealSnapshot]
    next_deal_id: str | None
