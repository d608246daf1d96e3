"""A unit carries out its grid master's orders: it locks slots, moves currents, gives slots back.

A deal that the grid master was asked to end and does not end in time, the unit ends by itself.
"""

from __future__ import annotations

from apis_core.events import Answer, DealClosed, DealCounted, DealOpened, Effect, Log, Record
from apis_core.model.messages import IS_STOPPING, ControlReply, ControlRequest, Deal
from apis_core.model.origin import Requester
from apis_core.model.types import ControlError, ControlOperation, ConverterMode, OperationMode
from apis_core.model.units import NEVER_NS
from apis_core.unit.unit_state import UnitState

__all__ = ["WRITE_RATIO", "OrderHandler"]

WRITE_RATIO = 0.05  # of the agreed energy between two entries of the journal
_ENDS = (  # what a unit still does while a fault of the whole cluster is not over
    ControlOperation.WAIT,
    ControlOperation.HOLD,
    ControlOperation.ADOPT,
    ControlOperation.RELEASE,
)
_BEGINS = (  # what a unit that is stopping does not do any more
    ControlOperation.ACQUIRE,
    ControlOperation.VOLTAGE_REFERENCE,
    ControlOperation.CHARGE,
    ControlOperation.DISCHARGE,
    ControlOperation.WILL_TAKE_OVER,
)


class OrderHandler:
    """Carries out the orders of the grid master on one unit.

    Args:
        state: The unit's state.

    Attributes:
        ending: Deals that the grid master is asked to end: why, and when we do it ourselves.
    """

    def __init__(self, state: UnitState) -> None:
        self.ending: dict[str, tuple[str, int]] = {}
        self._state = state
        # deals to be closed once the converter is off -> whom to answer
        self._closing: dict[str, Requester | None] = {}
        self._written_wh: dict[str, float] = {}  # of open deals: what was counted by then

    @property
    def wake_ns(self) -> int:
        """When :meth:`end_overdue` wants to be called."""
        if not self.ending:
            return NEVER_NS
        return min([due_ns for _, due_ns in self.ending.values()])

    def obey(self, requester: Requester, request: ControlRequest, now_ns: int) -> list[Effect]:
        """Carry out an order, or say why not."""
        state = self._state
        error, message = self._why_not(request, now_ns)
        if error is not ControlError.NONE:
            return [Answer(requester, self._report(request.deal_id, error, message))]
        slot = state.interlock.held(request.deal_id)
        if request.operation is ControlOperation.ACQUIRE:
            return self._acquire(requester, request, now_ns)
        if slot is None and not (
            request.operation is ControlOperation.WAIT and not request.deal_id
        ):
            reply = self._report(
                request.deal_id, ControlError.UNKNOWN_DEAL, f"holds no slot for {request.deal_id}"
            )
            return [Answer(requester, reply)]
        if request.operation is ControlOperation.RELEASE:
            self._closing[request.deal_id] = requester
            if not state.converter.works_for(request.deal_id):
                return []
            return state.converter.leave(request.deal_id, "its slot is released", now_ns)
        if slot is not None:
            slot.until_ns = now_ns + max(request.hold_ns, state.timing.deal.hold_ns)
        effects = self._write_down(slot.deal) if slot and slot.deal else []
        effects += state.converter.obey(requester, request, slot.deal if slot else None, now_ns)
        return effects

    def close_deals(self) -> list[Effect]:
        """Give back the slots that were asked back, once the converter has left them."""
        effects: list[Effect] = []
        if not self._closing:
            return effects
        state = self._state
        for deal_id, requester in list(self._closing.items()):
            if state.converter.works_for(deal_id):
                continue
            del self._closing[deal_id]
            report = self._report(deal_id, ControlError.NONE, "")
            if state.interlock.release(deal_id) is not None:
                receipt = state.converter.close(deal_id)
                self._written_wh.pop(deal_id, None)
                effects.append(Record(DealClosed(receipt)))
            if requester is not None:
                effects.append(Answer(requester, report))
        return effects

    def drop_expired_slots(self, now_ns: int) -> list[Effect]:
        """Slots that nobody renews fall back."""
        interlock, converter = self._state.interlock, self._state.converter
        effects: list[Effect] = []
        for deal_id in interlock.expired(now_ns):
            if interlock.held(deal_id) is None:
                interlock.release(deal_id)
                continue
            effects.append(Log(f"gives up deal {deal_id}: nobody renews it", is_warning=True))
            if converter.works_for(deal_id):
                effects += converter.leave(deal_id, f"nobody renews deal {deal_id}", now_ns)
            self._closing.setdefault(deal_id, None)
            slot = interlock.held(deal_id)
            if slot is not None:
                slot.until_ns = NEVER_NS  # closed as soon as the converter is off
        return effects

    # --- ending deals ----------------------------------------------------------------------------

    def ask_to_end(self, deal_id: str, reason: str, now_ns: int) -> None:
        """Have the grid master end a deal; what it does not do in time we do ourselves."""
        if self._state.interlock.held(deal_id) is not None:
            due_ns = now_ns + self._state.timing.force_stop_ns
            self.ending.setdefault(deal_id, (reason, due_ns))

    def ask_to_end_all(self, reason: str, now_ns: int) -> None:
        """Ask the grid master to end all deals of this unit."""
        for deal in self._state.interlock.deals:
            self.ask_to_end(deal.deal_id, reason, now_ns)

    def end_overdue(self, now_ns: int) -> list[Effect]:
        """Leave the deals that the grid master was asked to end and has not."""
        effects: list[Effect] = []
        for deal_id, (reason, due_ns) in list(self.ending.items()):
            if self._state.interlock.held(deal_id) is None:
                del self.ending[deal_id]
            elif now_ns >= due_ns:
                del self.ending[deal_id]
                self._closing.setdefault(deal_id, None)
                if self._state.converter.works_for(deal_id):
                    effects += self._state.converter.leave(deal_id, reason, now_ns)
        return effects

    # --- inside ----------------------------------------------------------------------------------

    def _why_not(self, request: ControlRequest, now_ns: int) -> tuple[ControlError, str]:
        election = self._state.election
        if request.term < election.term:
            return ControlError.OLD_TERM, f"term {election.term} has begun"
        if not election.obeys(request.grid_master_id, request.term, now_ns):
            holder = election.grid_master_id(now_ns) or "nobody"
            return ControlError.NOT_MY_GRID_MASTER, f"its grid master is {holder}"
        if self._state.is_stopping and request.operation in _BEGINS:
            return ControlError.NOT_READY, IS_STOPPING
        scrams = () if request.operation in _ENDS else self._state.faults.scrams(now_ns)
        if scrams:  # the grid master may not have heard of it yet
            return ControlError.NOT_DEALING, f"fault {scrams[0].code} of the whole cluster"
        return ControlError.NONE, ""

    def _write_down(self, deal: Deal) -> list[Effect]:
        """From time to time, so that a process that dies takes little of its books with it."""
        receipt = self._state.converter.ledger.receipt(deal.deal_id)
        if receipt is None:
            return []
        written_wh = self._written_wh.get(deal.deal_id, 0.0)
        if receipt.grid_moved_wh - written_wh < WRITE_RATIO * deal.energy_wh:
            return []
        self._written_wh[deal.deal_id] = receipt.grid_moved_wh
        return [Record(DealCounted(receipt))]

    def _acquire(self, requester: Requester, request: ControlRequest, now_ns: int) -> list[Effect]:
        state = self._state

        def answer(error: ControlError, message: str) -> list[Effect]:
            return [Answer(requester, self._report(request.deal_id, error, message))]

        deal = request.deal
        direction = deal.direction_of(state.unit_id) if deal is not None else None
        if deal is None or direction is None or deal.deal_id != request.deal_id:
            return answer(ControlError.OUT_OF_RANGE, f"has no part in deal {request.deal_id}")
        capacity_a = state.hardware.grid_current_capacity_a
        if not 0.0 < deal.current_a <= capacity_a:
            return answer(
                ControlError.OUT_OF_RANGE,
                f"current_a is {deal.current_a:g}; it must be above 0 and <= {capacity_a:g} A",
            )
        reason = state.faults.why_not() or state.refusals.why_not(now_ns)
        reason = reason or state.why_not_under(request.grid_master_id)
        if state.modes.effective not in (OperationMode.RUN, OperationMode.SOFT_STOP):
            reason = f"is in {state.modes.effective.name.replace('_', ' ').lower()}"
        elif state.converter.reading.mode is ConverterMode.UNKNOWN:
            reason = "its converter has not been read"
        elif state.soc_ratio is None:
            reason = "its battery has not been read"
        if reason:
            return answer(ControlError.NOT_DEALING, reason)
        was_held = state.interlock.held(deal.deal_id) is not None
        until_ns = now_ns + max(request.hold_ns, state.timing.deal.hold_ns)
        error, message = state.interlock.acquire(deal, direction, until_ns)
        if error is not ControlError.NONE or was_held:
            return answer(error, message)
        return [Record(DealOpened(deal)), *answer(ControlError.NONE, "")]

    def _report(self, deal_id: str, error: ControlError, message: str) -> ControlReply:
        return self._state.converter.report(deal_id, self._state.soc_ratio, error, message)
