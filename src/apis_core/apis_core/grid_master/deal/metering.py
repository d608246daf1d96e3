"""What the meters say while a deal runs: how much has flowed, and whether it should go on.

Energy is what the units' converters counted; here it is only read.
"""

from __future__ import annotations

from dataclasses import replace

from apis_core.converter.driver_contract import NO_CURRENT_A
from apis_core.converter.energy_limit import Sample
from apis_core.events import Effect
from apis_core.grid_master.deal.count_comparison import why_counts_differ
from apis_core.grid_master.deal.currents import Currents
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.grid_master.deal.shutdown import Shutdown
from apis_core.grid_master.deal.side import DealSide
from apis_core.grid_master.deal.transitions import Phase
from apis_core.model.types import ControlOperation, ConverterMode
from apis_core.model.units import s_from_ns, wh_from_w

__all__ = ["Metering"]

_TIME_MARGIN_RATIO = 2.0  # a deal may take this many times what its current promises ...
_TIME_MARGIN_S = 300.0  # ... and this much more
_LEAST_FLOW_RATIO = 0.1  # of what its current promises; with less of it a deal only blocks others


class Metering:
    """Watches one deal while its currents flow."""

    def __init__(
        self, progress: DealProgress, currents: Currents, shutdown: Shutdown, now_ns: int
    ) -> None:
        self._progress = progress
        self._currents = currents
        self._shutdown = shutdown
        self._late_because = "it took more than twice the time that its current promised"
        # when was looked whether energy flows, and what had by then
        self._mark = (now_ns, 0.0)

    def begin(self, now_ns: int) -> None:
        """The currents flow as they should: the deal runs."""
        progress = self._progress
        self.go_on(now_ns)
        if not progress.deal.started_ns:
            progress.deal = replace(progress.deal, started_ns=now_ns)

    def go_on(self, now_ns: int) -> None:
        """The deal runs, from here or under an earlier grid master already."""
        progress = self._progress
        progress.enter(Phase.RUNNING, now_ns, self._longest_ns())
        self._currents.runs = 1
        self._mark = (now_ns, progress.deal.moved_wh)

    def _longest_ns(self) -> int:
        expected_s = self._progress.deal.energy_wh / self._progress.flow_w * 3600.0
        return round((expected_s * _TIME_MARGIN_RATIO + _TIME_MARGIN_S) * 1e9)

    def take_counts(self, side: DealSide, sample: Sample) -> None:
        """Book what a side has counted; no count ever decreases."""
        progress = self._progress
        deal = progress.deal
        sent_wh, received_wh, moved_wh = deal.sent_wh, deal.received_wh, deal.moved_wh
        grid_wh, metered_wh = sample.reply.grid_moved_wh, sample.metered_wh(deal.meter)
        if side is progress.giver and grid_wh is not None:
            sent_wh = max(sent_wh or 0.0, grid_wh)
        if metered_wh is not None:
            if side is progress.taker:
                received_wh = max(received_wh or 0.0, metered_wh)
            if side is progress.meter:
                moved_wh = max(moved_wh, metered_wh)
        counts = (sent_wh, received_wh, moved_wh)
        if counts != (deal.sent_wh, deal.received_wh, deal.moved_wh):
            progress.deal = replace(
                deal, sent_wh=sent_wh, received_wh=received_wh, moved_wh=moved_wh
            )

    def poll(self, now_ns: int) -> list[Effect]:
        """Renew what flows, and read how much has."""
        effects: list[Effect] = []
        for side in self._progress.due_for_poll(now_ns):
            effects += self._currents.hold(side, now_ns)
        self._progress.plan_poll(now_ns)
        return effects

    def look(self, now_ns: int) -> list[Effect]:
        """A side has answered: is all there, or is something amiss?"""
        progress = self._progress
        progress.miscount = why_counts_differ(progress)
        if progress.miscount:
            return self._shutdown.abort(progress.miscount, now_ns)
        if progress.is_complete:
            return self._shutdown.stop_currents(now_ns)
        for side in progress.sides:
            reading, sample = side.reading, side.sample
            if reading is None or sample is None:
                continue
            is_on = sample.reply.deal_current_a > 0.0
            if is_on or reading.mode is ConverterMode.VOLTAGE_REFERENCE:
                continue
            if side is not progress.reference and side.has_reached_limit:
                effects = self._on_limit_reached(side, now_ns)
                if effects or progress.phase is not Phase.RUNNING:
                    return effects
                continue
            why = reading.stop_detail or "its converter went to WAIT by itself"
            return self._shutdown.abort(f"{side.unit_id}: {why}", now_ns)
        giver, taker, policy = progress.giver, progress.taker, progress.policy
        giver_soc, taker_soc = giver.soc_ratio, taker.soc_ratio
        if giver_soc is not None and giver_soc < policy.discharge_soc_min_ratio:
            reason = f"{giver.unit_id} is down to {giver_soc:.1%} of charge"
            return self._shutdown.abort(reason, now_ns)
        if taker_soc is not None and taker_soc > policy.charge_soc_max_ratio:
            reason = f"{taker.unit_id} is up to {taker_soc:.1%} of charge"
            return self._shutdown.abort(reason, now_ns)
        return self._watch_flow(now_ns) if progress.phase is Phase.RUNNING else []

    def _watch_flow(self, now_ns: int) -> list[Effect]:
        """End a deal of which hardly anything is counted, whatever the converters say.

        Beside others the meter of a reference shows what they do, too, and that may be the fault.
        """
        progress = self._progress
        since_ns, before_wh = self._mark
        duration_ns = now_ns - since_ns
        is_disturbed = progress.bus.is_handed_over or not progress.bus.is_alone
        if duration_ns < 2 * progress.timing.hold_ns and not is_disturbed:
            return []
        moved_wh = progress.deal.moved_wh - before_wh
        self._mark = (now_ns, progress.deal.moved_wh)
        promised_wh = wh_from_w(progress.flow_w, duration_ns)
        if is_disturbed or moved_wh >= _LEAST_FLOW_RATIO * promised_wh:
            return []
        counted = f"{moved_wh:.2f} Wh in {s_from_ns(duration_ns):.0f} s"
        words = f"{progress.meter.unit_id} has counted {counted}"
        return self._shutdown.abort(f"hardly anything flows: {words}", now_ns)

    def _on_limit_reached(self, side: DealSide, now_ns: int) -> list[Effect]:
        """A share has reached its limit, but what counts is not complete."""
        progress = self._progress
        if progress.bus.is_handed_over:
            return []  # who the reference is, and who holds a current, will be known after it
        meter, reference = progress.meter, progress.reference
        if side is not meter and reference is None:
            # the metering unit has a limit of its own and is about to reach it
            progress.deadline_ns = min(progress.deadline_ns, now_ns + progress.timing.hold_ns)
            self._late_because = (
                f"{meter.unit_id} went on when {side.unit_id} had given what it was to"
            )
            return []
        if side.limit_reached_ns is None:
            side.limit_reached_ns = now_ns
        limit_reached_ns = side.limit_reached_ns
        is_shared = not progress.bus.is_alone
        if is_shared and reference is not None and not self._currents.is_frozen:
            # the others' energy still runs through the reference: it is none of ours
            return self._currents.freeze(reference, now_ns)
        sample = meter.sample
        is_freezing = progress.reference_id in progress.orders.awaited_units(
            ControlOperation.CURRENT
        )
        if sample is None or sample.heard_ns < limit_reached_ns or is_freezing:
            return []
        flows_a = abs(sample.reading.grid_current_a or 0.0)
        if sample.asked_ns < limit_reached_ns and flows_a > NO_CURRENT_A:
            return []
        return self._currents.run_again(side, now_ns)

    def too_late(self, now_ns: int) -> list[Effect]:
        """The deal has run for as long as it may."""
        return self._shutdown.abort(self._late_because, now_ns)
