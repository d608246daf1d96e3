"""Correction of a current for the errors of the converters' meters (the protocol, 7.5).

A converter steers by its own meter. What that shows too much or too little would run through the
reference for as long as the deal lasts.
"""

from __future__ import annotations

from apis_core.converter.energy_limit import Sample
from apis_core.events import Effect
from apis_core.grid_master.deal.metering import Metering
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.grid_master.deal.shutdown import Shutdown
from apis_core.grid_master.deal.side import DealSide
from apis_core.grid_master.deal.transitions import Phase
from apis_core.model.types import ControlOperation, Direction

__all__ = ["Compensation"]

_METER_ERROR_A = 0.25  # no more than this is corrected
_STEADY_A = 0.01  # a reference whose current changes by less has settled
_LEAST_SHARE_A = 1e-3


class Compensation:
    """Brings the reference's current to where one deal should leave it.

    Attributes:
        reference_offset_a: By how much that current was off before the deal began. [A]
    """

    def __init__(
        self, progress: DealProgress, metering: Metering, shutdown: Shutdown, now_ns: int
    ) -> None:
        self._progress = progress
        self._metering = metering
        self._shutdown = shutdown
        self._last_sample: Sample | None = None  # of the reference
        self.reference_offset_a = 0.0
        self._fresh_ns = now_ns  # older readings of the reference say nothing
        self._trials = 0

    @property
    def adjusted_side(self) -> DealSide | None:
        """The side whose current is corrected.

        None, if there is one current only and it counts as exact.
        """
        progress = self._progress
        return next((side for side in progress.currents if side is not progress.meter), None)

    def begin(self, now_ns: int) -> None:
        """The currents flow: see what the reference carries, if it matters."""
        self._last_sample = None
        if self.adjusted_side is None:
            self._metering.begin(now_ns)
        else:
            self._fresh_ns = now_ns
            progress = self._progress
            progress.enter(Phase.COMPENSATING, now_ns, progress.timing.hold_ns)

    def hear_reference(self, sample: Sample, target_a: float, now_ns: int) -> list[Effect]:
        """The bus's reference was read.

        Args:
            sample: What it answered.
            target_a: What all deals together should bring it. [A, + = from the bus]
            now_ns: Present time.
        """
        progress = self._progress
        if progress.phase is not Phase.COMPENSATING or sample.asked_ns < self._fresh_ns:
            return []
        last = self._last_sample
        if last is not None and sample.asked_ns < last.heard_ns + progress.timing.dwell_ns:
            return []  # too soon to tell whether it has settled
        self._last_sample = sample
        current_a = sample.reading.grid_current_a
        last_a = last.reading.grid_current_a if last is not None else None
        if current_a is None or last_a is None or abs(current_a - last_a) > _STEADY_A:
            return []  # what passes by is no proof
        error_a = current_a - target_a - self.reference_offset_a
        effects = self._correct(error_a, now_ns)
        progress.arm()
        return effects

    def _correct(self, error_a: float, now_ns: int) -> list[Effect]:
        progress, side = self._progress, self.adjusted_side
        if abs(error_a) <= progress.policy.compensation_drift_allowance_a:
            self._metering.begin(now_ns)
            return []
        if side is None or side.unit_id in progress.orders.awaited_units():
            return []
        if not progress.is_carried(side):
            return []
        if abs(error_a) > _METER_ERROR_A:
            # no meter is so wrong: another deal's current has changed meanwhile
            self._metering.begin(now_ns)
            return []
        if self._trials >= progress.policy.compensation_trials:
            return self._shutdown.abort(
                f"the current of {progress.reference_id} stays {error_a:+.3f} A off after "
                f"{self._trials} corrections of {side.unit_id}",
                now_ns,
            )
        self._trials += 1
        # too much runs into the reference: give less, or take more
        sign = -1.0 if side.direction is Direction.DISCHARGE else 1.0
        side.share_a = max(abs(side.share_a) + sign * error_a, _LEAST_SHARE_A)
        side.ordered_ns = now_ns
        self.begin(now_ns)
        return progress.ask(side, ControlOperation.CURRENT, now_ns, grid_current_a=side.share_a)

    def too_late(self, now_ns: int) -> list[Effect]:
        """The reference's current has not settled in time."""
        reference_id = self._progress.reference_id
        return self._shutdown.abort(f"the current of {reference_id} does not settle", now_ns)
