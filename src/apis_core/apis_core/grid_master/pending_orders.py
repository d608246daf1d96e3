"""Orders of the grid master that units have not answered yet, kept for one of its machines.

A deal and the voltage reference are such machines; each has a :class:`PendingOrders` of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apis_core.config.timing import DealTiming
from apis_core.events import Call
from apis_core.model.messages import ControlRequest
from apis_core.model.origin import Asker, Origin
from apis_core.model.types import ControlOperation, UnitId
from apis_core.model.units import NEVER_NS

__all__ = ["PendingOrder", "PendingOrders"]


@dataclass(frozen=True, slots=True)
class PendingOrder:
    """An order that is unanswered."""

    unit_id: UnitId
    operation: ControlOperation
    asked_ns: int
    until_ns: int


class PendingOrders:
    """Names the origin of each order, and knows which are still to be answered.

    Args:
        asker: The machine that orders.
        grid_master_id: Who orders.
        term: Its term.
        timing: How long to wait for an answer, and how long an order lasts.
        deal_id: The deal, if the machine is one of several.
    """

    def __init__(
        self,
        asker: Asker,
        grid_master_id: UnitId,
        term: int,
        timing: DealTiming,
        deal_id: str = "",
    ) -> None:
        self._asker = asker
        self._deal_id = deal_id
        self._grid_master_id = grid_master_id
        self._term = term
        self._timing = timing
        self._pending: dict[Origin, PendingOrder] = {}
        self._count = 0

    @property
    def wake_ns(self) -> int:
        """When the first of them is overdue."""
        if not self._pending:
            return NEVER_NS
        return min([call.until_ns for call in self._pending.values()])

    def awaited_units(
        self, operation: ControlOperation | None = None, *, since_ns: int = 0
    ) -> set[UnitId]:
        """Units that owe an answer.

        Args:
            operation: Only to this kind of order; None = to any.
            since_ns: Only to orders given from then on. [ns]
        """
        return {
            call.unit_id
            for call in self._pending.values()
            if operation in (None, call.operation) and call.asked_ns >= since_ns
        }

    def ask(
        self,
        unit_id: UnitId,
        operation: ControlOperation,
        deal_id: str,
        now_ns: int,
        **fields: Any,
    ) -> Call:
        """An order. ``fields`` are further ones of :class:`ControlRequest`."""
        self._count += 1
        origin = Origin(self._asker, self._count, self._term, self._deal_id)
        self._pending[origin] = PendingOrder(
            unit_id, operation, now_ns, now_ns + self._timing.answer_ns
        )
        request = ControlRequest(
            operation=operation,
            grid_master_id=self._grid_master_id,
            term=self._term,
            deal_id=deal_id,
            hold_ns=self._timing.hold_ns,
            **fields,
        )
        return Call(origin, unit_id, request)

    def find(self, origin: Origin) -> PendingOrder | None:
        """An order that is unanswered; None = it is not."""
        return self._pending.get(origin)

    def pop(self, origin: Origin) -> PendingOrder | None:
        """Take out an order that is answered; None = it was given up before."""
        return self._pending.pop(origin, None)

    def overdue(self, now_ns: int) -> list[Origin]:
        """Orders whose answer is awaited no longer."""
        return [key for key, call in self._pending.items() if now_ns >= call.until_ns]
