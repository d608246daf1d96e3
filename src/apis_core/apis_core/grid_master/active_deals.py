"""The deals that a grid master has in hand, and what follows from a step of one of them."""

from __future__ import annotations

from collections.abc import Mapping

from apis_core.events import Effect, PublishFault
from apis_core.grid_master.deal.machine import DealMachine
from apis_core.grid_master.deal.transitions import Phase
from apis_core.grid_master.deal_registry import DealRegistry
from apis_core.model.messages import Fault, UnitStatus
from apis_core.model.types import NOBODY, FaultCategory, FaultExtent, FaultLevel, UnitId

__all__ = ["ActiveDeals"]


class ActiveDeals:
    """The deals that are not over, each with its machine.

    Args:
        unit_id: The unit that is the grid master.
        statuses: Of all units, as last heard; kept up to date by the grid master.

    Attributes:
        machines: By deal id, in the order in which they came.
        registry: What is answered and published of them.
        is_leaving: Whether the grid master's own process is about to end.
    """

    def __init__(self, unit_id: UnitId, statuses: Mapping[UnitId, UnitStatus]) -> None:
        self._unit_id = unit_id
        self._statuses = statuses
        self.machines: dict[str, DealMachine] = {}
        self.registry = DealRegistry(unit_id)
        self.is_leaving = False

    def on_bus(self) -> list[DealMachine]:
        """Those whose current flows or is about to, or that the bus is brought up for."""
        return [machine for machine in self.machines.values() if machine.needs_bus]

    def in_phase(self, phase: Phase) -> list[DealMachine]:
        """Those that are in a phase."""
        return [machine for machine in self.machines.values() if machine.phase is phase]

    def users_of(self, unit_id: UnitId) -> list[DealMachine]:
        """Deals on the bus in which a unit takes part."""
        return [m for m in self.on_bus() if m.deal.direction_of(unit_id) is not None]

    def brought_a(self, unit_id: UnitId, phases: tuple[Phase, ...]) -> float:
        """What its deals in those phases bring a unit. [A, + = from the bus]"""
        users = self.users_of(unit_id)
        return sum(machine.share_a(unit_id) for machine in users if machine.phase in phases)

    def after(self, machine: DealMachine, effects: list[Effect]) -> list[Effect]:
        """What follows from a step of a deal: news for the world, the answer to its submitter."""
        if machine.phase is Phase.ACQUIRING or not (effects or machine.has_news):
            return effects
        machine.has_been_told()
        record = machine.record()
        deal_id = record.deal_id
        effects = [*effects, *self.registry.answer_now(deal_id, machine.refusal)]
        if self.registry.has_published(deal_id) or machine.refusal is None:
            effects = [*effects, *self.registry.publish(record)]
        silent_id = machine.take_silent_id()
        if silent_id != NOBODY:
            effects = [*effects, *self._book_silence(silent_id, deal_id)]
        miscount = machine.take_miscount()
        if miscount:  # which of the two is wrong cannot be told from here: both stay out
            category, code = FaultCategory.HARDWARE, "counts_differ"
            faults = [self._fault(u, category, code, miscount, deal_id) for u in record.unit_ids]
            effects = [*effects, *faults]
        if machine.phase is Phase.OVER:
            self.machines.pop(deal_id, None)
        return effects

    def _book_silence(self, unit_id: UnitId, deal_id: str) -> list[Effect]:
        """A call that is not answered is booked on the unit that does not answer.

        A process that has said that it is stopping owes no answer: the call came after its end.
        While we are leaving ourselves, it may be that the whole grid is stopped.
        """
        status = self._statuses.get(unit_id)
        if self.is_leaving or (status is not None and status.is_stopping):
            return []
        message = f"{unit_id} does not answer its grid master"
        return [self._fault(unit_id, FaultCategory.FRAMEWORK, "no_answer", message, deal_id)]

    def _fault(
        self, unit_id: UnitId, category: FaultCategory, code: str, message: str, deal_id: str
    ) -> PublishFault:
        fault = Fault(
            unit_id=unit_id,
            reporter_id=self._unit_id,
            category=category,
            extent=FaultExtent.LOCAL,
            level=FaultLevel.ERROR,
            code=code,
            message=message,
            deal_id=deal_id,
        )
        return PublishFault(fault)
