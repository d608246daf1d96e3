"""One bidirectional DC/DC converter between a battery and the bus.

It knows four modes. In ``CHARGE`` and ``DISCHARGE`` its current follows a setpoint at a bounded
rate; as ``VOLTAGE_REFERENCE`` it carries what the bus asks of it. It leaves an active mode either
at once (a trip) or in order: the current runs down to zero, or the voltage does, and only then it
says ``WAIT``. All of that is C++ (:class:`apis_control.Converter`), the same object that the
real-time loop has; here it only gets the vocabulary of the core.
"""

from __future__ import annotations

from typing import cast

import apis_control
from apis_core.model.types import Alarm, ConverterMode, StopCause
from apis_site.grid import Bus, ConverterLoss, ConverterRatings

__all__ = ["Converter"]

_MODES = tuple(ConverterMode)
_ALARMS = tuple(Alarm)
_CAUSES = tuple(StopCause)
_mode = apis_control.Converter.mode.fget  # type: ignore[attr-defined]
_alarm = apis_control.Converter.alarm.fget  # type: ignore[attr-defined]
_set_alarm = apis_control.Converter.alarm.fset  # type: ignore[attr-defined]
_cause = apis_control.Converter.stop_cause.fget  # type: ignore[attr-defined]


class Converter(apis_control.Converter):
    """State of a converter. Currents and powers: + = from the bus into the unit.

    Attributes:
        ratings: What it is built for.
    """

    def __init__(
        self, *, loss: ConverterLoss, bus: Bus, ratings: ConverterRatings | None = None
    ) -> None:
        self.ratings = ratings = ratings or ConverterRatings()
        super().__init__(
            rated_current_a=ratings.rated_current_a,
            rated_power_w=ratings.rated_power_w,
            saturation_trip_s=ratings.saturation_trip_s,
            dead_bus_v=ratings.dead_bus_v,
            current_slew_a_per_s=bus.current_slew_a_per_s,
            voltage_up_v_per_s=bus.ramp_up_v_per_s,
            voltage_down_v_per_s=bus.ramp_down_v_per_s,
            under_voltage_trip_v=bus.under_voltage_trip_v,
            over_voltage_trip_v=bus.over_voltage_trip_v,
            waiting_w=loss.waiting_w,
            constant_w=loss.constant_w,
            linear=loss.linear,
            quadratic_per_w=loss.quadratic_per_w,
        )

    @property
    def mode(self) -> ConverterMode:
        """What it does."""
        return cast(ConverterMode, _MODES[_mode(self)])

    @property  # type: ignore[override]
    def alarm(self) -> Alarm:
        """What it says of its own health."""
        return cast(Alarm, _ALARMS[_alarm(self)])

    @alarm.setter
    def alarm(self, alarm: Alarm) -> None:
        _set_alarm(self, alarm)

    @property
    def stop_cause(self) -> StopCause:
        """Why it left its last active mode by itself."""
        return cast(StopCause, _CAUSES[_cause(self)])
