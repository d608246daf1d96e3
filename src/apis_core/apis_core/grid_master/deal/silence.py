"""How long a deal waits for a unit that is silent, or that does not obey."""

from __future__ import annotations

from apis_core.events import Effect
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.grid_master.deal.shutdown import Shutdown
from apis_core.grid_master.deal.side import DealSide
from apis_core.grid_master.deal.transitions import HOLDING
from apis_core.model.messages import ControlReply
from apis_core.model.types import ControlError

__all__ = ["SilenceWatch"]

_ASTRAY = (  # of a unit that does not follow us now, and may again
    ControlError.NO_ANSWER,
    ControlError.NOT_MY_GRID_MASTER,
    ControlError.OLD_TERM,
)


class SilenceWatch:
    """Ends one deal when one of its units is gone."""

    def __init__(self, progress: DealProgress, shutdown: Shutdown) -> None:
        self._progress = progress
        self._shutdown = shutdown

    def is_patient(self, side: DealSide, reply: ControlReply, now_ns: int) -> bool:
        """Whether a failed poll may be repeated.

        Silence shorter than the hold time is no reason to end a deal. Nor is a unit that does not
        follow us just now: it has not heard of our lease yet, or it has heard of a newer one,
        which goes on with the deal.
        """
        if reply.error not in _ASTRAY:
            return False
        obeyed_ns = self._progress.began_ns if side.obeyed_ns is None else side.obeyed_ns
        return now_ns - obeyed_ns < self._progress.timing.hold_ns

    def failed(self, side: DealSide, reply: ControlReply, now_ns: int) -> list[Effect]:
        """A unit did not do what it was ordered, and is not asked again."""
        if reply.error is ControlError.NO_ANSWER:
            self._progress.silent_id = side.unit_id
        return self._shutdown.abort(f"{side.unit_id}: {reply.message}", now_ns)

    def look(self, now_ns: int) -> list[Effect]:
        """A unit whose process is gone, or that is cut off, does not keep its partner on."""
        progress = self._progress
        if progress.phase not in HOLDING:
            return []
        for side in progress.sides:
            if progress.is_silent(side, now_ns):
                progress.silent_id = side.unit_id
                return self._shutdown.abort(f"{side.unit_id}: does not answer", now_ns)
        return []
