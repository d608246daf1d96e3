"""The recovery of deals: a new grid master continues an older one's deals, or ends them.

All it knows is the last record of each deal that this unit heard, and which units say that they
hold slots for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from apis_core.config.timing import Timing
from apis_core.events import Call, Effect
from apis_core.model.messages import ControlRequest, Deal, UnitStatus
from apis_core.model.origin import Asker, Origin
from apis_core.model.types import NOBODY, ControlOperation, ConverterMode, DealState, UnitId
from apis_core.model.units import NEVER_NS

__all__ = ["DealRecovery"]

_PATIENCE_HOLDS = 10  # hold times until a unit that was never heard counts as gone for good


class DealRecovery:
    """Continues or closes the deals of older grid masters, for the grid master of one term.

    Args:
        unit_id: The unit that is the grid master.
        term: The term of its lease.
        timing: Times of the agent.
        known_deals: Records of deals that an earlier grid master ran, as last heard.
        statuses: Of all units, as last heard; kept up to date by the caller.
        heard_ns: When each was heard last; kept up to date by the caller.
        now_ns: Present time.

    Attributes:
        scram_reason: The fault of the whole cluster with which the deals end that are not taken
            by then; empty = there was none.
    """

    def __init__(
        self,
        *,
        unit_id: UnitId,
        term: int,
        timing: Timing,
        known_deals: Mapping[str, Deal],
        statuses: Mapping[UnitId, UnitStatus],
        heard_ns: Mapping[UnitId, int],
        now_ns: int,
    ) -> None:
        self.scram_reason = ""
        self._unit_id = unit_id
        self._term = term
        self._timing = timing
        self._statuses = statuses
        self._heard_ns = heard_ns
        self._began_ns = now_ns
        self._deals = {key: deal for key, deal in known_deals.items() if not deal.state.is_over}
        # how long each unit's answer to a RELEASE is awaited, by unit and deal
        self._asked_until_ns: dict[tuple[UnitId, str], int] = {}
        self._calls_out = 0
        self._free_since_ns: dict[str, int] = {}  # since when no unit holds a deal any more
        # the slots of a unit that has not been heard by then ran out long ago
        self._patient_until_ns = now_ns + _PATIENCE_HOLDS * timing.deal.hold_ns
        self._look_ns = now_ns + timing.deal.quit_ns
        self._take_until_ns = now_ns + timing.silent_ns  # every live unit is heard by then
        # Units whose status was heard in this term. An earlier status may be out of date: an older
        # grid master that was cut off may have ended the deal since. A unit that has given its
        # vote in this term obeys that grid master no more.
        self._heard = {key for key, status in statuses.items() if status.term >= term}
        self._spoke_ns = dict.fromkeys(statuses, now_ns)

    def is_open(self, now_ns: int) -> bool:
        """Whether it is not decided yet for some deals if they go on."""
        return now_ns <= self._take_until_ns and bool(self._deals) and not self.scram_reason

    def has_heard(self, unit_id: UnitId) -> bool:
        """Whether a unit's status was heard in this term."""
        return unit_id in self._heard

    def is_due(self, now_ns: int) -> bool:
        """Whether :meth:`close` is due, though nothing new was heard."""
        return now_ns >= self.wake_ns

    @property
    def wake_ns(self) -> int:
        """When :meth:`close` wants to be called."""
        return self._look_ns if self._deals else NEVER_NS

    def hear_deal(self, deal: Deal) -> None:
        """Take an older grid master's record of a deal, which arrives late.

        It says only once that a deal is over.
        """
        if deal.state.is_over:
            self._deals.pop(deal.deal_id, None)
            return
        known = self._deals.get(deal.deal_id)
        if known is None or (deal.term, deal.sequence) > (known.term, known.sequence):
            self._deals[deal.deal_id] = deal

    def hear_status(self, status: UnitStatus, now_ns: int) -> None:
        """Take the status of a unit; only one of this term counts."""
        if status.term >= self._term:
            self._heard.add(status.unit_id)
        self._spoke_ns[status.unit_id] = now_ns

    def has_foreign_current(self, own_deal_ids: Collection[str], now_ns: int) -> bool:
        """Whether a current of a deal that this grid master does not run may still be on the bus.

        Nobody can tell then what the bus would carry with another current. The dead man of a
        silent unit has stopped its current after the hold time.
        """
        since_ns = now_ns - self._timing.deal.hold_ns
        return any(
            deal_id not in own_deal_ids
            for status in self._statuses.values()
            for deal_id in status.flowing_deal_ids
            if self._spoke_ns.get(status.unit_id, now_ns) > since_ns
        )

    def holds_alone(self, unit_id: UnitId) -> bool:
        """Whether a unit holds the voltage, and no other unit that was heard in this term does."""
        holders = {
            key
            for key, status in self._statuses.items()
            if key in self._heard and status.converter.mode is ConverterMode.VOLTAGE_REFERENCE
        }
        return holders == {unit_id}

    def winds_down(self, now_ns: int) -> bool:
        """Whether a unit still holds the voltage of a bus that an earlier grid master has let go.

        It does so for no deal, and not for long: it has been told WAIT.
        """
        since_ns = now_ns - self._timing.deal.hold_ns
        return now_ns < self._patient_until_ns and any(
            status.converter.mode is ConverterMode.VOLTAGE_REFERENCE and not status.deal_ids
            for status in self._statuses.values()
            if self._spoke_ns.get(status.unit_id, now_ns) > since_ns
        )

    def take_running(self, now_ns: int, own_reference_id: UnitId) -> tuple[UnitId, list[Deal]]:
        """Take out the deals that go on, with the unit that holds the bus for them.

        A deal goes on if both its units say in this term that they hold it. For the deals of the
        reference its own word is enough, because the others depend on it. No deal goes on unless
        the bus is as the records say.

        Args:
            now_ns: Present time.
            own_reference_id: The unit that holds the bus for the deals that this grid master runs
                already; nobody = it runs none.
        """
        possible = [deal for deal in self._running if not self._is_denied(deal)]
        references = {deal.voltage_reference_id for deal in possible}
        if now_ns > self._take_until_ns or len(references) != 1 or self.scram_reason:
            return NOBODY, []  # nobody holds the bus, or a hand-over was under way: all end
        (unit_id,) = references
        if own_reference_id not in (NOBODY, unit_id):
            return NOBODY, []
        if own_reference_id == NOBODY and not self._is_held(unit_id, possible):
            return NOBODY, []
        running = [
            deal
            for deal in possible
            if self._heard.issuperset(deal.unit_ids)
            or (unit_id in deal.unit_ids and unit_id in self._heard)
        ]
        for deal in running:
            del self._deals[deal.deal_id]
        return (unit_id, running) if running else (NOBODY, [])

    def release_orphans(
        self,
        status: UnitStatus,
        own_deal_ids: Mapping[str, object],
        own_reference_id: UnitId,
        now_ns: int,
    ) -> list[Effect]:
        """Have a unit release the slots of deals that this grid master does not run.

        A unit that holds the voltage is told so only once no unit says that it carries a current,
        or at once if our own reference holds the bus, too: a hand-over was interrupted.
        """
        effects: list[Effect] = []
        for deal_id in status.deal_ids:
            key = (status.unit_id, deal_id)
            if deal_id in own_deal_ids or now_ns < self._asked_until_ns.get(key, now_ns):
                continue
            if self._may_be_taken(deal_id, now_ns):
                continue
            holds_bus = status.converter.mode is ConverterMode.VOLTAGE_REFERENCE
            is_needed = own_reference_id == NOBODY
            if holds_bus and is_needed and self._carries_current(now_ns):
                continue
            self._asked_until_ns[key] = now_ns + self._timing.deal.answer_ns
            self._calls_out += 1
            origin = Origin(Asker.RECOVERY, self._calls_out)  # nobody waits for the answer
            request = ControlRequest(
                operation=ControlOperation.RELEASE,
                grid_master_id=self._unit_id,
                term=self._term,
                deal_id=deal_id,
            )
            effects.append(Call(origin, status.unit_id, request))
        return effects

    def close(self, now_ns: int) -> list[Deal]:
        """Records of the deals that are over, because no unit has them any more."""
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + self._timing.deal.lost_ns
        closed = []
        timing, deal_timing = self._timing, self._timing.deal

        def gone(unit_id: UnitId) -> bool:
            return self._is_gone(unit_id, now_ns)

        for deal_id, left in list(self._deals.items()):
            # a status from before this term may be out of date
            statuses = [self._statuses.get(u) for u in left.unit_ids if u in self._heard]
            is_held = any(status and deal_id in status.deal_ids for status in statuses)
            if is_held or not all(u in self._heard or gone(u) for u in left.unit_ids):
                self._free_since_ns.pop(deal_id, None)
                if is_held or now_ns < self._patient_until_ns:
                    continue
            else:
                # a grid master that was cut off may have sent us how it ended
                since_ns = self._free_since_ns.setdefault(deal_id, now_ns)
                is_lost = gone(left.grid_master_id)
                if now_ns < since_ns + (deal_timing.lost_ns if is_lost else timing.silent_ns):
                    continue
            del self._deals[deal_id]
            ended = replace(
                left,
                term=self._term,
                sequence=0,
                grid_master_id=self._unit_id,
                state=DealState.SCRAMMED if self.scram_reason else DealState.ABORTED,
                reason=self.scram_reason or f"its grid master {left.grid_master_id} was lost",
                ended_ns=now_ns,
            )
            closed.append(ended)
        return closed

    # --- inside ----------------------------------------------------------------------------------

    @property
    def _running(self) -> list[Deal]:
        return [deal for deal in self._deals.values() if deal.state is DealState.RUNNING]

    def _may_be_taken(self, deal_id: str, now_ns: int) -> bool:
        """Whether a deal may still go on, because one of its units has not been heard yet.

        A unit whose process was short of time a moment ago is no reason to end what flows.
        """
        possible = [deal for deal in self._running if not self._is_denied(deal)]
        is_one = any(deal.deal_id == deal_id for deal in possible)
        missing = {u for deal in possible for u in deal.unit_ids} - self._heard
        is_awaited = any(not self._is_gone(unit_id, now_ns) for unit_id in missing)
        is_open = now_ns <= self._take_until_ns and not self.scram_reason
        return is_open and is_one and is_awaited

    def _is_gone(self, unit_id: UnitId, now_ns: int) -> bool:
        """Whether a unit has given no sign of life for so long that nobody waits for it."""
        timing = self._timing.deal
        if unit_id in self._heard or now_ns < self._began_ns + timing.quit_ns:
            return False
        if any(deal.grid_master_id == unit_id for deal in self._deals.values()):
            return True  # its lease has run out: it was silent long before this term began
        return now_ns >= self._heard_ns.get(unit_id, self._began_ns) + timing.silence_ns

    def _is_denied(self, deal: Deal) -> bool:
        """Whether one of its units says in this term that it does nothing for a deal."""
        statuses = [self._statuses[u] for u in deal.unit_ids if u in self._heard]
        return any(
            deal.deal_id not in status.deal_ids or not status.converter.mode.is_active
            for status in statuses
        )

    def _is_held(self, unit_id: UnitId, deals: list[Deal]) -> bool:
        """Whether a unit says in this term that it holds the bus, for one of those deals."""
        if unit_id not in self._heard or all(deal.direction_of(unit_id) is None for deal in deals):
            return False
        return self._statuses[unit_id].converter.mode is ConverterMode.VOLTAGE_REFERENCE

    def _carries_current(self, now_ns: int) -> bool:
        """Whether a unit says that it carries a current; nobody waits for one that is gone."""
        currents = (ConverterMode.CHARGE, ConverterMode.DISCHARGE)
        return any(
            status.converter.mode in currents and not self._is_gone(unit_id, now_ns)
            for unit_id, status in self._statuses.items()
        )
