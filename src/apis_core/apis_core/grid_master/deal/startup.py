"""The start of a deal: its slots, and, once the bus is up, one current after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from apis_core.events import Effect
from apis_core.grid_master.deal.compensation import Compensation
from apis_core.grid_master.deal.currents import Currents
from apis_core.grid_master.deal.metering import Metering
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.grid_master.deal.shutdown import Shutdown
from apis_core.grid_master.deal.side import DealSide
from apis_core.grid_master.deal.transitions import Phase
from apis_core.model.messages import ControlReply
from apis_core.model.types import ControlError, ControlOperation, DealState, UnitId
from apis_core.model.units import s_from_ns

__all__ = ["Startup"]


class Startup:
    """Locks the slots of one deal and starts its currents.

    Attributes:
        refusal: Why a unit gave no slot; None = none did so.
    """

    def __init__(
        self,
        progress: DealProgress,
        currents: Currents,
        metering: Metering,
        compensation: Compensation,
        shutdown: Shutdown,
    ) -> None:
        self._progress = progress
        self._currents = currents
        self._compensation = compensation
        self._shutdown = shutdown
        self._metering = metering
        self.refusal: ControlReply | None = None
        self._to_start: list[DealSide] = []
        self._started: DealSide | None = None  # the last one

    def acquire(self, now_ns: int) -> list[Effect]:
        """Lock a slot on the next unit; with both of them the deal has its place in the queue."""
        progress = self._progress
        side = next((side for side in progress.sides if not side.is_asked), None)
        if side is None:
            progress.enter(Phase.QUEUED, now_ns, progress.policy.queue_limit_ns)
            return []
        side.is_asked = True
        return progress.ask(side, ControlOperation.ACQUIRE, now_ns, deal=progress.deal)

    def acquire_answered(self, side: DealSide, reply: ControlReply, now_ns: int) -> list[Effect]:
        """A unit has locked a slot, or gives none: then the deal ends with its words."""
        if reply.error is ControlError.NONE:
            return self.acquire(now_ns)
        progress = self._progress
        self.refusal = replace(reply, message=f"{side.unit_id}: {reply.message}")
        progress.deal = replace(progress.deal, reason=self.refusal.message)
        progress.outcome = DealState.ABORTED
        return self._shutdown.release(now_ns)

    def adopt(self, now_ns: int, heard_ns: Mapping[UnitId, int]) -> list[Effect]:
        """The slots are locked and the currents flow already: both units are to follow us."""
        progress = self._progress
        spared_ns = now_ns - progress.timing.silence_ns + progress.timing.quit_ns
        for side in progress.sides:
            side.heard_ns = max(heard_ns.get(side.unit_id, spared_ns), spared_ns)
            side.is_asked = True
            side.is_started = side is not progress.reference
        self._metering.go_on(now_ns)
        effects: list[Effect] = []
        for side in progress.sides:
            effects += progress.ask(side, ControlOperation.ADOPT, now_ns, deal=progress.deal)
        return effects

    def begin(self, reference_id: UnitId, now_ns: int, reference_offset_a: float) -> list[Effect]:
        """The bus is up, held by that unit, and it is the deal's turn."""
        progress = self._progress
        progress.name_reference(reference_id)
        reference = progress.reference
        first = list(reversed(progress.currents))  # what starts first stops last
        self._to_start = first if reference is None else [reference, *first]
        self._compensation.reference_offset_a = reference_offset_a
        progress.enter(Phase.STARTING, now_ns, progress.timing.hold_ns)
        return self.go_on(now_ns)

    def go_on(self, now_ns: int) -> list[Effect]:
        """The next one begins once the current of the last one flows."""
        progress, last = self._progress, self._started
        if last is not None:
            is_awaited = last.unit_id in progress.orders.awaited_units()
            if is_awaited or not progress.is_carried(last):
                return []
        if not self._to_start:
            self._compensation.begin(now_ns)
            return []
        self._started = self._to_start.pop(0)
        return self._currents.order(self._started, now_ns)

    def waited_too_long(self, now_ns: int) -> list[Effect]:
        """It did not get its turn on the bus in time: its slots are free for other deals."""
        waited_s = s_from_ns(self._progress.policy.queue_limit_ns)
        reason = f"it has waited {waited_s:g} s for its turn on the bus, and may not for longer"
        return self._shutdown.abort(reason, now_ns)

    def too_late(self, now_ns: int) -> list[Effect]:
        """The last one's current has not come up in time."""
        late_id = self._started.unit_id if self._started is not None else "nobody"
        return self._shutdown.abort(f"{late_id} did not start", now_ns)
