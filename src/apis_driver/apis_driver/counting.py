"""Counts the energy of a converter that has no counters, and foretells when to stop it.

The readings of the line are integrated, as fast as they come. A stop takes effect later than it
is decided: the order takes a while to be heard, and then the current runs down. What flows
meanwhile is learnt from every stop and taken off the limit beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from apis_control import EnergyMeter
from apis_core.model.types import ConverterMode
from apis_driver.device import DcdcStatus

__all__ = ["EnergyCounter"]

_OFF_A = 0.05  # in WAIT so little is the meter's offset
_FLAT_A = 0.001  # a current that falls less from reading to reading is at its end
_LEARN_FROM_A = 0.2  # smaller currents say too little of how they run down
_SLEW_RANGE_A_PER_S = (0.05, 1000.0)
_LEARNING_RATIO = 0.5


@dataclass(slots=True)
class _Stop:
    """A stop that has been obeyed and not yet taken full effect."""

    at_s: float
    moved_wh: float
    voltage_v: float
    current_a: float
    is_seen: bool = False  # the current running down, in a reading between


class EnergyCounter:
    """Both terminals of one converter. Powers: + = from the bus into the unit.

    Args:
        stop_slew_a_per_s: How fast its current runs down in a stop, to begin with. [A/s]

    Attributes:
        limit_wh: What is to have moved at the bus terminal since :meth:`begin` when it stops;
            None = no limit. [Wh]
        next_current_a: What it goes to then; 0 = WAIT. [A]
    """

    def __init__(self, stop_slew_a_per_s: float) -> None:
        self._grid, self._battery = EnergyMeter(), EnergyMeter()
        self._read_s: float | None = None
        self._power_w = self._voltage_v = self._current_a = 0.0
        self._grid_w = self._battery_w = 0.0
        self._base_wh = 0.0
        self._stop: _Stop | None = None
        self._has_learnt = False
        self.stop_slew_a_per_s = stop_slew_a_per_s
        self.limit_wh: float | None = None
        self.next_current_a = 0.0

    @property
    def grid_wh(self) -> tuple[float, float]:
        """Taken from the bus, and given to it. [Wh]"""
        return self._grid.charged_wh, self._grid.discharged_wh

    @property
    def battery_wh(self) -> tuple[float, float]:
        """Put into the battery, and drawn from it. [Wh]"""
        return self._battery.charged_wh, self._battery.discharged_wh

    @property
    def moved_wh(self) -> float:
        """Moved over the bus terminal, either way, since :meth:`begin`. [Wh]"""
        return self._grid.charged_wh + self._grid.discharged_wh - self._base_wh

    def add(self, status: DcdcStatus, at_s: float) -> None:
        """Take a reading.

        Args:
            status: Where it says neither current nor power, nothing is counted.
            at_s: When it was measured; the scale is that of the plant. [s]
        """
        grid_w = _power_w(status.grid_voltage_v, status.grid_current_a, status.grid_power_w)
        battery_w = _power_w(
            status.battery_voltage_v, status.battery_current_a, status.battery_power_w
        )
        current_a = abs(status.grid_current_a or 0.0)
        is_off = current_a < _OFF_A
        if status.mode is ConverterMode.WAIT and is_off:
            grid_w = 0.0
        stop = self._stop
        if self._read_s is not None and at_s > self._read_s:
            period_s = at_s - self._read_s
            if stop is not None and is_off:
                self._run_down(stop, period_s)
            else:
                self._grid.add(grid_w, period_s)
                self._battery.add(battery_w, period_s)
        self._read_s = at_s
        was_a, self._current_a = self._current_a, current_a
        self._power_w, self._grid_w, self._battery_w = abs(grid_w), grid_w, battery_w
        self._voltage_v = status.grid_voltage_v or 0.0
        # the mode may say WAIT before the current is down, and a meter need not go down to zero
        is_flat = status.mode is ConverterMode.WAIT and current_a > was_a - _FLAT_A
        if stop is not None:
            if stop.is_seen and (is_off or is_flat):
                self._learn(stop)
            if is_off or is_flat:
                self._stop = None
            stop.is_seen = True

    def interrupt(self) -> None:
        """The line was broken. What flowed meanwhile is not known, and not made up."""
        self._read_s = None
        self._stop = None

    def begin(self, limit_wh: float | None, next_current_a: float) -> None:
        """Count towards a limit anew, from the last reading on."""
        self._base_wh = self._grid.charged_wh + self._grid.discharged_wh
        self._stop = None
        self.set_limit(limit_wh, next_current_a)

    def set_limit(self, limit_wh: float | None, next_current_a: float) -> None:
        """Where to stop, or to go on with less."""
        self.limit_wh, self.next_current_a = limit_wh, next_current_a

    def stop_due_s(self, mode: ConverterMode, delay_s: float) -> float:
        """When the order must be given, on the scale of :meth:`add`; inf = not in sight. [s]

        What flows after it: the power P for the order's way, and, while the part x of the
        current i leaves at the slew s, ``V*i*x / (2 s)``, of which x/i belongs to what leaves.

        Args:
            mode: A voltage reference does not steer its current, so that it just goes off.
            delay_s: How long an order takes to be obeyed. [s]
        """
        if self.limit_wh is None or self._read_s is None or self._power_w <= 0.0:
            return math.inf
        left_ws = (self.limit_wh - self.moved_wh) * 3600.0 - self._power_w * delay_s
        if mode is not ConverterMode.VOLTAGE_REFERENCE:
            leaving_a = max(self._current_a - self.next_current_a, 0.0)
            left_ws -= self._power_w * leaving_a / (2.0 * self.stop_slew_a_per_s)
        return self._read_s + max(left_ws / self._power_w, 0.0)

    def note_stop(self, mode: ConverterMode, at_s: float) -> None:
        """A stop has been obeyed; how the current runs down is learnt from what follows.

        Until now it has flowed as it was read last: the next reading, after the stop, does not
        say so.

        Args:
            mode: That ends. A voltage reference does not steer its current.
            at_s: When it was obeyed, on the scale of :meth:`add`. [s]
        """
        if self._read_s is not None and at_s > self._read_s:
            self._grid.add_mean(self._grid_w, at_s - self._read_s)
            self._battery.add_mean(self._battery_w, at_s - self._read_s)
            self._read_s = at_s
        is_current = mode in (ConverterMode.CHARGE, ConverterMode.DISCHARGE)
        if self._stop is None and is_current and self._current_a >= _LEARN_FROM_A:
            self._stop = _Stop(at_s, self.moved_wh, self._voltage_v, self._current_a)

    def _run_down(self, stop: _Stop, period_s: float) -> None:
        """It is off, and was not when it was read last: somewhere between it has come to nothing.

        How fast it ran down until the last reading tells where. If none saw it run down, it was
        at least so fast that it could.
        """
        slew_a_per_s = self._current_a / period_s
        if stop.is_seen and self._read_s is not None and self._read_s > stop.at_s:
            seen = (stop.current_a - self._current_a) / (self._read_s - stop.at_s)
            slew_a_per_s = max(slew_a_per_s, seen)
        else:
            slew_a_per_s = max(slew_a_per_s, self.stop_slew_a_per_s)
            self.stop_slew_a_per_s = slew_a_per_s
        ramp_s = min(self._current_a / slew_a_per_s, period_s) if slew_a_per_s > 0.0 else 0.0
        for meter, power_w in ((self._grid, self._grid_w), (self._battery, self._battery_w)):
            if ramp_s > 0.0:
                meter.add_mean(power_w / 2.0, ramp_s)
            if period_s > ramp_s:
                meter.add_mean(0.0, period_s - ramp_s)

    def _learn(self, stop: _Stop) -> None:
        tail_ws = (self.moved_wh - stop.moved_wh) * 3600.0
        low, high = _SLEW_RANGE_A_PER_S
        full_ws = stop.voltage_v * stop.current_a**2 / 2.0
        seen = min(max(full_ws / max(tail_ws, full_ws / high), low), high)
        # of the times, not of the rates: energy goes with them
        share, self._has_learnt = _LEARNING_RATIO if self._has_learnt else 1.0, True
        mean_s = (1.0 - share) / self.stop_slew_a_per_s + share / seen
        self.stop_slew_a_per_s = 1.0 / mean_s


def _power_w(voltage_v: float | None, current_a: float | None, power_w: float | None) -> float:
    """Volts times amperes where both are known: registers resolve them finer than watts."""
    if voltage_v is not None and current_a is not None:
        return voltage_v * current_a
    return power_w or 0.0
