"""The end of a deal: its currents first, then the bus voltage, then the slots.

It never trusts silence. Who does not confirm is asked again, or waited out until that unit's own
dead man has stopped it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from apis_core.converter.driver_contract import NO_CURRENT_A
from apis_core.events import Effect
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.grid_master.deal.side import DealSide
from apis_core.grid_master.deal.transitions import ENDING, Phase
from apis_core.model.messages import ControlReply
from apis_core.model.types import NOBODY, ControlError, ControlOperation, DealState

__all__ = ["Shutdown"]

_EXACT_RATIO = 0.001  # a deal that moved more than this beyond the agreed energy says so
_RELEASE_TRIES = 3

_Op = ControlOperation


class Shutdown:
    """Ends one deal, early or because all has flowed."""

    def __init__(self, progress: DealProgress) -> None:
        self._progress = progress
        self._to_stop: list[DealSide] = []  # that may still carry a current, in order
        self._release_tries = 0

    def abort(self, reason: str, now_ns: int, *, scram: bool = False) -> list[Effect]:
        """End the deal early; once it is ending, the first reason stays."""
        progress = self._progress
        if progress.phase in ENDING:
            return []
        progress.outcome = DealState.SCRAMMED if scram else DealState.ABORTED
        progress.deal = replace(progress.deal, reason=reason)
        if progress.phase in (Phase.ACQUIRING, Phase.QUEUED):
            return self.release(now_ns)
        return self.stop_currents(now_ns)

    # --- the currents ----------------------------------------------------------------------------

    def stop_currents(self, now_ns: int) -> list[Effect]:
        """Stop what may flow: one after the other, or all at once if a unit is silent."""
        progress = self._progress
        self._to_stop = [side for side in progress.currents if side.is_started]
        for side in progress.sides:
            side.is_told_to_stop = False
        if not self._to_stop:
            return self.leave_bus(now_ns)
        # in a scram all units stop by themselves, and the voltage waits for nobody
        is_scram = progress.outcome is DealState.SCRAMMED
        scram_ns = progress.policy.scram_reference_delay_ns
        limit_ns = scram_ns if is_scram else 2 * progress.timing.hold_ns
        progress.enter(Phase.STOPPING, now_ns, limit_ns)
        if not is_scram and progress.silent_id == NOBODY:
            return self._tell_to_stop(self._to_stop[:1], now_ns)
        return [*self._tell_to_stop(self._to_stop, now_ns), *self.poll(now_ns)]

    def _tell_to_stop(self, sides: Iterable[DealSide], now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for side in sides:
            if not side.is_told_to_stop:
                side.is_told_to_stop = True
                effects += self._progress.ask(side, _Op.WAIT, now_ns)
        return effects

    def go_on_stopping(self, now_ns: int) -> list[Effect]:
        """One after the other if they answer, but nobody stays on because another is silent."""
        progress = self._progress
        is_late = now_ns >= progress.entered_ns + progress.timing.quit_ns
        for side in list(self._to_stop):
            if not side.is_told_to_stop:
                continue
            has_stopped = side.has_stopped(progress.entered_ns)
            is_gone = is_late and progress.is_silent(side, now_ns)
            if has_stopped or is_gone or self._bus_carries_nothing():
                side.is_told_to_stop = False
                self._to_stop.remove(side)
        if not self._to_stop:
            return self.leave_bus(now_ns)
        meant = self._to_stop if is_late else self._to_stop[:1]
        return self._tell_to_stop(meant, now_ns)

    def _bus_carries_nothing(self) -> bool:
        """Whether a silent current side has stopped for all that the reference can see."""
        progress = self._progress
        reference = progress.reference
        sample = reference.sample if reference is not None else None
        if not progress.bus.is_alone or sample is None or sample.asked_ns < progress.entered_ns:
            return False
        current_a = sample.reading.grid_current_a
        return current_a is not None and abs(current_a) <= NO_CURRENT_A

    def poll(self, now_ns: int) -> list[Effect]:
        """Ask again for what is not confirmed."""
        progress = self._progress
        due = progress.due_for_poll(now_ns)
        effects: list[Effect] = []
        if progress.phase is Phase.LEAVING:
            # nobody renews what is to end, unless others need it
            due = [] if progress.bus.is_alone else due
            for side in due:
                if side is progress.reference:
                    effects += progress.ask(side, _Op.HOLD, now_ns)
        else:
            effects += self.go_on_stopping(now_ns)
            due = due if self._to_stop else []
            for side in due:
                if side is progress.reference:
                    effects += progress.ask(side, _Op.HOLD, now_ns)
                elif side.is_told_to_stop:
                    effects += progress.ask(side, _Op.WAIT, now_ns)
        progress.plan_poll(now_ns)
        return effects

    # --- the bus ---------------------------------------------------------------------------------

    def leave_bus(self, now_ns: int) -> list[Effect]:
        """No current flows any more: the reference is free of the deal."""
        progress = self._progress
        if progress.deal.started_ns and not progress.deal.stopped_ns:
            progress.deal = replace(progress.deal, stopped_ns=now_ns)
        progress.counts_until_ns = now_ns
        reference = progress.reference
        if reference is None:
            return self.release(now_ns)
        progress.enter(Phase.LEAVING, now_ns)
        # what it carries from now on is none of ours
        return progress.ask(reference, _Op.CURRENT, now_ns, grid_current_a=0.0)

    def leave_reference(self, now_ns: int) -> list[Effect]:
        """Its unit stays the reference for other deals: take only our share off it."""
        progress = self._progress
        reference = progress.reference
        if progress.phase is not Phase.LEAVING or reference is None:
            return []
        if reference.unit_id in progress.orders.awaited_units():
            return []
        return progress.ask(reference, _Op.WAIT, now_ns)

    def reference_answered(
        self, side: DealSide, operation: ControlOperation, reply: ControlReply, now_ns: int
    ) -> list[Effect]:
        """A unit has answered while the reference is left."""
        has_left = operation is _Op.WAIT and _is_done(reply)
        is_reference = side is self._progress.reference
        return self.release(now_ns) if has_left and is_reference else []

    def left(self, now_ns: int) -> list[Effect]:
        """Its unit is the reference no more."""
        return self.release(now_ns) if self._progress.phase is Phase.LEAVING else []

    # --- the slots -------------------------------------------------------------------------------

    def release(self, now_ns: int) -> list[Effect]:
        """Give the slots back."""
        progress = self._progress
        progress.counts_until_ns = min(progress.counts_until_ns, now_ns)
        progress.enter(Phase.RELEASING, now_ns)
        return self.release_rest(now_ns)

    def release_answered(self, side: DealSide, reply: ControlReply, now_ns: int) -> list[Effect]:
        """A unit has answered the order to give its slot back."""
        if _is_done(reply):
            side.is_released = True
        return self.release_rest(now_ns)

    def release_rest(self, now_ns: int) -> list[Effect]:
        """Ask the units that have not given their slots back, until all have or it is enough."""
        progress = self._progress
        # who is silent is told once, and not waited for
        asked = [side for side in progress.sides if side.is_asked]
        silent = {side.unit_id for side in asked if progress.is_silent(side, now_ns)}
        is_releasing = progress.phase is Phase.RELEASING
        if not is_releasing or progress.orders.awaited_units(_Op.RELEASE) - silent:
            return []
        done = silent if self._release_tries else set()
        left = [
            side for side in reversed(asked) if not side.is_released and side.unit_id not in done
        ]
        if not left or self._release_tries >= _RELEASE_TRIES:
            # a unit that does not answer gives its slot back by itself when nothing renews it
            if left and progress.silent_id == NOBODY:
                progress.silent_id = left[0].unit_id
            self._close(now_ns)
            return []
        self._release_tries += 1
        effects: list[Effect] = []
        for side in left:
            effects += progress.ask(side, _Op.RELEASE, now_ns, deal=progress.record())
        return effects

    def _close(self, now_ns: int) -> None:
        """Say how the deal went."""
        progress = self._progress
        progress.enter(Phase.OVER, now_ns)
        deal = progress.deal
        if progress.outcome is DealState.COMPLETED and not progress.is_complete:
            progress.outcome = DealState.ABORTED
            deal = replace(deal, reason="less than agreed was counted")
        more_wh = deal.moved_wh - deal.energy_wh
        if more_wh > _EXACT_RATIO * deal.energy_wh and not deal.reason:
            meter_id = progress.meter.unit_id
            words = f"{more_wh:.3f} Wh more than agreed flowed before {meter_id} stopped"
            deal = replace(deal, reason=words)
        progress.deal = replace(deal, ended_ns=now_ns)


def _is_done(reply: ControlReply) -> bool:
    """Whether a unit has nothing of the deal any more: a slot that is gone is as good."""
    return reply.error in (ControlError.NONE, ControlError.UNKNOWN_DEAL)
