"""Takes a converter to WAIT, and sees that it gets there, whoever else does not.

WAIT is said until the device takes it, and said again when the converter is not there in time.
Only a reading that shows WAIT ends a stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from apis_core.converter.driver_contract import Refused
from apis_core.model.transitions import Transitions, check
from apis_core.model.types import ConverterError, ConverterMode, StopCause
from apis_driver.converter import Converter
from apis_driver.device import DeadMan
from apis_driver.errors import DeviceError
from apis_driver.rules import GovernorSettings, Times

__all__ = ["TRANSITIONS", "StopStage", "Stopper"]

_STOP_LIMIT_S = 1.0
_RECENT_S = 0.5  # by a reading as young as this it is known what flows


class StopStage(Enum):
    """How far a stop has come."""

    NONE = auto()  # no stop is under way
    TO_SAY = auto()  # WAIT is to be said (again)
    SAID = auto()  # the device has taken it; the next readings show whether it is obeyed


_S = StopStage

TRANSITIONS: Final[Transitions[StopStage]] = {
    _S.NONE: {_S.TO_SAY: "stop", _S.SAID: "open"},
    _S.TO_SAY: {_S.SAID: "device, open"},
    _S.SAID: {_S.NONE: "reading", _S.TO_SAY: "time", _S.SAID: "device, open"},
}


@dataclass(slots=True)
class _Stopping:
    """A stop that is on its way."""

    cause: StopCause
    detail: str
    since_s: float
    is_complained: bool = False


class Stopper:
    """Takes one converter to WAIT, again and again until it is there.

    Attributes:
        stage: How far the stop has come that is under way.
        cause, detail: Of the last stop that came to its end.
    """

    def __init__(self, converter: Converter, settings: GovernorSettings, times: Times) -> None:
        self._converter = converter
        self._settings = settings
        self._times = times
        self.stage = StopStage.NONE
        self._stopping: _Stopping | None = None
        self._has_grace = False  # the dead man waits for the currents of others
        self.cause, self.detail = StopCause.NONE, ""

    @property
    def is_under_way(self) -> bool:
        """Whether it is on its way to WAIT."""
        return self.stage is not StopStage.NONE

    @property
    def is_unsaid(self) -> bool:
        """Whether WAIT must be said (again)."""
        return self.stage is StopStage.TO_SAY

    def forget(self) -> None:
        """It is switched on: the last stop is history."""
        self.cause, self.detail = StopCause.NONE, ""

    def note_opened(self, was_on: str | None) -> None:
        """WAIT was said to it when it was opened.

        Args:
            was_on: It had been on when it was lost, for this reason; None = it had not.
        """
        cause, detail = self.cause, self.detail
        if was_on is not None:
            cause, detail = StopCause.TRIP, f"it was lost while it was on: {was_on}"
        self._stopping = _Stopping(cause, detail, self._times.now_s())
        self._enter(StopStage.SAID)

    def stop(self, cause: StopCause, detail: str) -> None:
        """Go to WAIT. A first cause stays."""
        if self._stopping is None:
            if not self._converter.mode.is_active:
                cause, detail = self.cause, self.detail
            self._stopping = _Stopping(cause, detail, self._times.now_s())
            self._enter(StopStage.TO_SAY)
        self.say_wait()

    def say_wait(self) -> None:
        """Say WAIT; what fails here is tried again with every poll."""
        converter, times = self._converter, self._times
        if self.stage is StopStage.NONE:
            return
        mode, decided_s = converter.mode, times.plant_s()
        is_known = converter.age_s < _RECENT_S and self.is_unsaid  # what flows until then
        try:
            if self._dead_man is not None and self._dead_man.fired:
                self._dead_man.disarm()
            converter.device.set_mode(ConverterMode.WAIT, times.now_s() + _STOP_LIMIT_S)
        except DeviceError as failure:
            converter.note_failure(failure)
            return
        self._enter(StopStage.SAID)
        if is_known:  # its answer took about as long as the order
            delay_s = self._settings.order_delay_s * times.plant_rate
            converter.counter.note_stop(mode, max(times.plant_s() - delay_s, decided_s))

    def look(self, deadline_s: float) -> None:
        """Read the converter, and see what that says of a stop."""
        converter = self._converter
        was_on = converter.mode.is_active
        converter.read(deadline_s)
        if converter.mode is not ConverterMode.WAIT:
            return
        if self._stopping is not None:
            if self.is_unsaid:
                return
            stopped, self._stopping = self._stopping, None
            self._enter(StopStage.NONE)
            self.cause, self.detail = stopped.cause, stopped.detail
        elif was_on and converter.ordered is not ConverterMode.WAIT:
            text = converter.status.alarm_text
            self.cause = StopCause.TRIP
            self.detail = f"it stopped by itself{f': {text}' if text else ''}"
            converter.complain("converter_stopped_by_itself", self.detail)
        else:
            return
        converter.ordered = ConverterMode.WAIT
        converter.counter.set_limit(None, 0.0)
        if self._dead_man is not None:
            self._dead_man.disarm()
        converter.rest(deadline_s)

    def see_that_it_stops(self) -> None:
        """Complain of a converter that does not go to WAIT, and have it said again."""
        stopping, limit_s = self._stopping, self._settings.wait_limit_s
        if stopping is None or self._times.now_s() < stopping.since_s + limit_s:
            return
        if not stopping.is_complained:
            stopping.is_complained = True
            status = self._converter.status
            self._converter.complain(
                "converter_does_not_stop",
                f"it is in {status.mode.name} ({status.mode_code}) {limit_s:g} s after WAIT "
                "was ordered",
            )
        if not self.is_unsaid:
            self._enter(StopStage.TO_SAY)  # again with every poll

    def _enter(self, stage: StopStage) -> None:
        check(TRANSITIONS, self.stage, stage)
        self.stage = stage

    # --- the dead man below Python ---------------------------------------------------------------

    @property
    def _dead_man(self) -> DeadMan | None:
        return self._converter.device.dead_man

    def has_fired_below(self) -> bool:
        """Whether the dead man below Python has said WAIT; told once."""
        dead_man = self._dead_man
        return dead_man is not None and dead_man.fired and dead_man.disarm()

    def renew_below(self, hold_s: float) -> None:
        """Let the dead man below Python act a little later than we do.

        Raises:
            Refused: It has acted already.
        """
        if self._dead_man is not None and not self._renew(self._dead_man, hold_s):
            raise Refused(
                ConverterError.WRONG_MODE, "its hold time has run out; it is going to WAIT"
            )

    def follow_current_below(self, left_s: float) -> None:
        """Current has begun to flow, or ended, since the order was renewed: let the dead man know.

        Args:
            left_s: What is left of the hold time. [s]
        """
        dead_man = self._dead_man
        if dead_man is not None and left_s > 0.0 and self._needs_grace != self._has_grace:
            self._renew(dead_man, left_s)  # if it has fired, that is seen to elsewhere

    @property
    def _needs_grace(self) -> bool:
        """Whether it holds the voltage for others that should let go first."""
        modes = (self._converter.ordered, self._converter.mode)
        return ConverterMode.VOLTAGE_REFERENCE in modes and self._converter.carries_current

    def _renew(self, dead_man: DeadMan, hold_s: float) -> bool:
        self._has_grace = self._needs_grace
        grace_s = self._settings.reference_grace_s if self._has_grace else 0.0
        return dead_man.renew(hold_s + grace_s + self._settings.guard_margin_s)
