"""What an older grid master left behind: the new one continues its deals, or ends and closes them.

All that is known of them is how their records were last heard, and which units say that they hold
slots for them.
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

_PATIENCE_HOLDS = 10


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
        self._unit_id = unit_id
        self._term = term
        self._timing = timing
        self._statuses = statuses
        self._heard_ns = heard_ns
        self._began_ns = now_ns
        self._deals = {key: deal for key, deal in known_deals.items() if not deal.state.is_over}
        # leftovers on units: not asked again before
        self._asked_until_ns: dict[tuple[UnitId, str], int] = {}
        self._calls_out = 0
        self._free_since_ns: dict[str, int] = {}  # deals that no unit holds any more
        # a unit that has not been heard by then may be gone for good; its holds ran out long ago
        self._patient_until_ns = now_ns + _PATIENCE_HOLDS * timing.deal.hold_ns
        self._look_ns = now_ns + timing.deal.quit_ns
        self._take_until_ns = now_ns + timing.silent_ns  # who lives has been heard by then
        # Who has said in this term how it is. What was said before may be out of date: an older
        # grid master that was cut off may have ended the deal meanwhile. A unit that has given its
        # vote in this term does nothing for it any more.
        self._heard = {key for key, status in statuses.items() if status.term >= term}
        self._spoke_ns = dict.fromkeys(statuses, now_ns)

    def is_open(self, now_ns: int) -> bool:
        """Whether there are deals of which is not known yet if they go on."""
        return now_ns <= self._take_until_ns and bool(self._deals)

    def has_heard(self, unit_id: UnitId) -> bool:
        """Whether a unit has said in this term how it is."""
        return unit_id in self._heard

    def is_due(self, now_ns: int) -> bool:
        """Whether it is time to look at what is left, though nobody has said anything new."""
        return now_ns >= self.wake_ns

    @property
    def wake_ns(self) -> int:
        """When :meth:`close` wants to be called."""
        return self._look_ns if self._deals else NEVER_NS

    def hear_deal(self, deal: Deal) -> None:
        """What an older grid master said of a deal arrives only now; of its end it speaks once."""
        if deal.state.is_over:
            self._deals.pop(deal.deal_id, None)
            return
        known = self._deals.get(deal.deal_id)
        if known is None or (deal.term, deal.sequence) > (known.term, known.sequence):
            self._deals[deal.deal_id] = deal

    def hear_status(self, status: UnitStatus, now_ns: int) -> None:
        """Take the status of a unit; only what it says in this term counts."""
        if status.term >= self._term:
            self._heard.add(status.unit_id)
        self._spoke_ns[status.unit_id] = now_ns

    def has_foreign_current(self, own_deal_ids: Collection[str], now_ns: int) -> bool:
        """Whether a current of a deal that this grid master does not run may still be on the bus.

        Nobody can tell then what another current would add up to. One of a unit that is silent has
        been stopped by its own dead man after the hold time.
        """
        since_ns = now_ns - self._timing.deal.hold_ns
        return any(
            deal_id not in own_deal_ids
            for status in self._statuses.values()
            for deal_id in status.flowing_deal_ids
            if self._spoke_ns.get(status.unit_id, now_ns) > since_ns
        )

    def winds_down(self, now_ns: int) -> bool:
        """Whether a unit still holds the voltage of a bus that an earlier grid master has let go.

        It does so for no deal any more, and not for long: it has been told WAIT.
        """
        since_ns = now_ns - self._timing.deal.hold_ns
        return now_ns < self._patient_until_ns and any(
            status.converter.mode is ConverterMode.VOLTAGE_REFERENCE and not status.deal_ids
            for status in self._statuses.values()
            if self._spoke_ns.get(status.unit_id, now_ns) > since_ns
        )

    def take_running(self, now_ns: int, own_reference_id: UnitId) -> tuple[UnitId, list[Deal]]:
        """The deals to go on with, and who holds the bus for them; they are no leftovers any more.

        Those whose units say in this term that they hold them; of the reference's own it is enough
        that the reference says so, because the others hang on it. None, unless the bus is as their
        records say.

        Args:
            now_ns: Present time.
            own_reference_id: Who holds the bus for the deals that this grid master runs already.
        """
        possible = [deal for deal in self._running if not self._is_denied(deal)]
        references = {deal.voltage_reference_id for deal in possible}
        if now_ns > self._take_until_ns or len(references) != 1:
            return NOBODY, []  # none, or one was just being replaced: all are wound up
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

        A reference only once no current is left on the bus, as far as anybody is there to say so.
        """
        effects: list[Effect] = []
        for deal_id in status.deal_ids:
            key = (status.unit_id, deal_id)
            if deal_id in own_deal_ids or now_ns < self._asked_until_ns.get(key, now_ns):
                continue
            if self._may_be_taken(deal_id, now_ns):
                continue
            holds_bus = status.converter.mode is ConverterMode.VOLTAGE_REFERENCE
            is_ours = status.unit_id == own_reference_id
            if holds_bus and not is_ours and self._carries_current(now_ns):
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
            # what they said before this term may be out of date
            statuses = [self._statuses.get(u) for u in left.unit_ids if u in self._heard]
            is_held = any(status and deal_id in status.deal_ids for status in statuses)
            if is_held or not all(u in self._heard or gone(u) for u in left.unit_ids):
                self._free_since_ns.pop(deal_id, None)
                if is_held or now_ns < self._patient_until_ns:
                    continue
            else:
                # how it ended may be under way to us, from a master that was cut off
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
                state=DealState.ABORTED,
                reason=f"its grid master {left.grid_master_id} was lost",
                ended_ns=now_ns,
            )
            closed.append(ended)
        return closed

    # --- inside ----------------------------------------------------------------------------------

    @property
    def _running(self) -> list[Deal]:
        return [deal for deal in self._deals.values() if deal.state is DealState.RUNNING]

    def _may_be_taken(self, deal_id: str, now_ns: int) -> bool:
        """Whether it is still to be seen if a deal can go on, because a unit has not been heard.

        One whose process was short of time a moment ago is no reason to end what flows.
        """
        possible = [deal for deal in self._running if not self._is_denied(deal)]
        is_one = any(deal.deal_id == deal_id for deal in possible)
        missing = {u for deal in possible for u in deal.unit_ids} - self._heard
        is_awaited = any(not self._is_gone(unit_id, now_ns) for unit_id in missing)
        return now_ns <= self._take_until_ns and is_one and is_awaited

    def _is_gone(self, unit_id: UnitId, now_ns: int) -> bool:
        """Whether a unit has given no sign of life for so long that nobody waits for it."""
        timing = self._timing.deal
        if unit_id in self._heard or now_ns < self._began_ns + timing.quit_ns:
            return False
        if any(deal.grid_master_id == unit_id for deal in self._deals.values()):
            return True  # its lease has run out, so it had been silent before we began
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
