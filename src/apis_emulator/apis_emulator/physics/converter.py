"""One bidirectional DC/DC converter between a battery and the bus.

It knows four modes. In ``CHARGE`` and ``DISCHARGE`` its current follows a setpoint at a bounded
rate; as ``VOLTAGE_REFERENCE`` it carries what the bus asks of it. It leaves an active mode either
at once (a trip) or in order: the current runs down to zero, or the voltage does, and only then it
says ``WAIT``.
"""

from __future__ import annotations

import math

from apis_control import EnergyMeter, SlewLimiter
from apis_core.grid import ConverterLoss
from apis_core.types import Alarm, ConverterMode, StopCause

__all__ = [
    "MAX_DROOP_RATIO",
    "RATED_CURRENT_A",
    "RATED_POWER_W",
    "VOLTAGE_RANGE_V",
    "Converter",
]

# Ranges of the TDK-Lambda EZA-2500-32048, the converter that the original system uses.
RATED_CURRENT_A = 7.8125  # [A] at the bus: 2500 W at 320 V
RATED_POWER_W = 2500.0
VOLTAGE_RANGE_V = (260.0, 390.0)
MAX_DROOP_RATIO = 0.1

AMBIENT_DEGC = 25.0
# Fan-cooled, 2.5 kW; engineering estimates.
THERMAL_RESISTANCE_K_PER_W = 0.15
THERMAL_TIME_S = 300.0

_CURRENT_SIDES = {ConverterMode.CHARGE: 1.0, ConverterMode.DISCHARGE: -1.0}


class Converter:
    """State of a converter. Currents and powers: + = from the bus into the unit.

    Attributes:
        mode: What it does.
        current_a: At the bus terminal, now. [A]
        voltage_setpoint_v: Ordered voltage; 0 unless a voltage reference. [V]
        current_setpoint_a: Ordered current, or the limit of a voltage reference, >= 0. [A]
        droop_ratio: Voltage drop at rated current over the setpoint, 0..0.1.
        regulated_v: What a voltage reference regulates to while it ramps. [V]
        has_held: As a reference it has reached its setpoint, so that a fall of the voltage is a
            fault from now on.
        saturated_s: For how long a reference has been at its current limit. [s]
        energy_limit_wh: It stops by itself when so much has moved; None = never. [Wh]
        next_current_a: Setpoint that it goes to there instead; 0 = it stops. [A]
        stop_cause: Why it left its last active mode by itself.
        current_offset_a: Error of its current control: it carries so much more than its setpoint,
            in its direction. [A]
        temp_degc: Inside. [degC]
    """

    def __init__(self, *, loss: ConverterLoss, current_slew_a_per_s: float) -> None:
        self._loss = loss
        self._slew = SlewLimiter(current_slew_a_per_s)
        self._grid_meter = EnergyMeter()
        self._battery_meter = EnergyMeter()
        self._base_wh = 0.0
        self._pending: tuple[StopCause, str] | None = None
        self.mode = ConverterMode.WAIT
        self.alarm = Alarm.NONE
        self.stop_cause = StopCause.NONE
        self.stop_detail = ""
        self.current_a = 0.0
        self.voltage_setpoint_v = 0.0
        self.current_setpoint_a = 0.0
        self.droop_ratio = 0.0
        self.regulated_v = 0.0
        self.has_held = False
        self.saturated_s = 0.0
        self.energy_limit_wh: float | None = None
        self.next_current_a = 0.0
        self.current_offset_a = 0.0
        self.temp_degc = AMBIENT_DEGC + THERMAL_RESISTANCE_K_PER_W * loss.waiting_w

    # --- what it is ------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether it is energised."""
        return self.mode is not ConverterMode.WAIT

    @property
    def is_stopping(self) -> bool:
        """Whether it is on its way to WAIT."""
        return self._pending is not None

    @property
    def is_reference(self) -> bool:
        """Whether it regulates the bus voltage (also while it brings it down in order)."""
        return self.mode is ConverterMode.VOLTAGE_REFERENCE

    @property
    def charged_wh(self) -> float:
        """Taken from the bus since the start. [Wh]"""
        return self._grid_meter.charged_wh

    @property
    def discharged_wh(self) -> float:
        """Given to the bus since the start. [Wh]"""
        return self._grid_meter.discharged_wh

    @property
    def battery_charged_wh(self) -> float:
        """Put into the battery since the start. [Wh]"""
        return self._battery_meter.charged_wh

    @property
    def battery_discharged_wh(self) -> float:
        """Drawn from the battery since the start, idle losses included. [Wh]"""
        return self._battery_meter.discharged_wh

    @property
    def moved_wh(self) -> float:
        """Moved over the bus terminal, either way, since the last order of a mode. [Wh]"""
        return self.charged_wh + self.discharged_wh - self._base_wh

    @property
    def droop_ohm(self) -> float:
        """Droop as a resistance: ``droop_ratio * setpoint`` at rated current. [V/A]"""
        return self.droop_ratio * self.voltage_setpoint_v / RATED_CURRENT_A

    def loss_w(self, grid_w: float) -> float:
        """What it burns at this power at the bus terminal. [W]"""
        if not self.is_active:
            return self._loss.waiting_w
        power_w = abs(grid_w)
        return (
            self._loss.constant_w
            + self._loss.linear * power_w
            + self._loss.quadratic_per_w * power_w * power_w
        )

    # --- what it is told -------------------------------------------------------------------------

    def start(self, mode: ConverterMode, *, bus_v: float, energy_limit_wh: float | None) -> None:
        """Enter an active mode; setpoints are set apart. Counting towards the energy limit begins
        anew.
        """
        if mode is not ConverterMode.VOLTAGE_REFERENCE:
            self.voltage_setpoint_v = self.droop_ratio = 0.0
            self._slew.reset(self.current_a)
        elif not self.is_reference:
            self.regulated_v = bus_v
        self.has_held = False
        self.saturated_s = 0.0
        self.mode = mode
        self._pending = None
        self.energy_limit_wh = energy_limit_wh
        self.next_current_a = 0.0
        self._base_wh = self.charged_wh + self.discharged_wh
        self.stop_cause, self.stop_detail = StopCause.NONE, ""
        self.acknowledge()

    def acknowledge(self) -> None:
        """Forget the alarm, as any order of a mode does. The stop cause stays until a start."""
        self.alarm = Alarm.NONE

    def stop(self, cause: StopCause, detail: str, *, is_bus_held: bool) -> None:
        """Go to WAIT in order. A first cause stays.

        Args:
            cause: NONE if ordered.
            detail: For people; empty if ordered.
            is_bus_held: Another reference holds the bus: then this one lets its current go instead
                of the voltage.
        """
        if not self.is_active or self.is_stopping:
            return
        if self.is_reference and is_bus_held:
            self.mode = ConverterMode.DISCHARGE if self.current_a < 0.0 else ConverterMode.CHARGE
            self._slew.reset(self.current_a)
        self._pending = (cause, detail)
        self.current_setpoint_a = 0.0 if self.mode in _CURRENT_SIDES else self.current_setpoint_a
        self.voltage_setpoint_v = 0.0
        self.droop_ratio = 0.0

    def trip(self, detail: str) -> None:
        """Off at once, with an alarm."""
        self._off(StopCause.TRIP, detail)
        self.alarm = Alarm.HEAVY

    def go_on_with_less(self) -> None:
        """The limit is reached, but others want its current still."""
        self.current_setpoint_a, self.next_current_a = self.next_current_a, 0.0
        self.energy_limit_wh = None

    def finish(self) -> None:
        """End an orderly stop now, wherever it is."""
        self._off(*(self._pending or (StopCause.NONE, "")))

    def _off(self, cause: StopCause, detail: str) -> None:
        self.mode = ConverterMode.WAIT
        self.stop_cause, self.stop_detail = cause, detail
        self._pending = None
        self.current_a = self.current_setpoint_a = 0.0
        self.voltage_setpoint_v = self.droop_ratio = self.regulated_v = 0.0
        self.energy_limit_wh = None
        self.next_current_a = 0.0
        self._slew.reset(0.0)

    # --- what it does ----------------------------------------------------------------------------

    def target_a(self, bus_v: float) -> float:
        """Current that a current source heads for: its setpoint, within its rated power. [A]"""
        if self._pending is not None:
            return 0.0
        limit_a = RATED_POWER_W / bus_v if bus_v > 0.0 else 0.0
        wanted_a = self.current_setpoint_a
        if wanted_a > 0.0:
            wanted_a = max(wanted_a + self.current_offset_a, 0.0)
        return _CURRENT_SIDES.get(self.mode, 0.0) * min(wanted_a, limit_a)

    def move_current(self, bus_v: float, dt_s: float) -> float:
        """Let a current source follow its target; returns the exact mean of its current. [A]"""
        before_a = self.current_a
        after_a = self.current_a = self._slew.step(self.target_a(bus_v), dt_s)
        ramp_s = min(abs(after_a - before_a) / self._slew.rate_per_s, dt_s)
        return after_a + (before_a - after_a) * ramp_s / (2.0 * dt_s)

    def rewind_current(self, current_a: float) -> None:
        """Undo :meth:`move_current`, to take a shorter step instead."""
        self._slew.reset(current_a)
        self.current_a = current_a

    def count(self, grid_w: float, dt_s: float) -> tuple[float, float]:
        """Meter a step of mean power; returns battery side power and loss. [W]"""
        loss_w = self.loss_w(grid_w)
        battery_w = grid_w - loss_w
        self._grid_meter.add_mean(grid_w, dt_s)
        self._battery_meter.add_mean(battery_w, dt_s)
        settled_degc = AMBIENT_DEGC + THERMAL_RESISTANCE_K_PER_W * loss_w
        self.temp_degc += (settled_degc - self.temp_degc) * dt_s / (THERMAL_TIME_S + dt_s)
        return battery_w, loss_w

    def time_to_stop(self, bus_v: float) -> float:
        """Time until its stop must begin to meet its energy limit; inf = not in sight. [s]

        The current still flows while it runs down: a current source that stops at current i and
        slews at s moves another ``V * i^2 / (2 s)``. The time solves  moved(t) + V*i(t)^2/(2 s) =
        limit  for constant V, first along the ramp to the target, then on the flat. A reference
        does not steer its current; it stops on the limit itself.
        """
        if self.energy_limit_wh is None or not self.is_active or self.is_stopping:
            return math.inf
        left_ws = (self.energy_limit_wh - self.moved_wh) * 3600.0
        if left_ws <= 0.0:
            return 0.0
        if bus_v <= 0.0:
            return math.inf
        if self.next_current_a > 0.0:
            # Of the current i the part x leaves, in x/s seconds, and moves V*x^2/(2 s) meanwhile;
            # that is x/i of the last V*x*i/(2 s) before the limit.
            power_w = abs(self.current_a) * bus_v
            leaving_a = max(abs(self.current_a) - self.next_current_a, 0.0)
            left_ws -= power_w * leaving_a / (2.0 * self._slew.rate_per_s)
            return max(left_ws / power_w, 0.0) if power_w > 0.0 else math.inf
        if self.is_reference:
            power_w = abs(self.current_a) * bus_v
            return left_ws / power_w if power_w > 0.0 else math.inf
        target_a = self.target_a(bus_v)
        if self.current_a * target_a < 0.0:
            return math.inf  # still running down the other direction; not before it crosses zero
        return _time_to_charge(
            left_ws / bus_v, abs(self.current_a), abs(target_a), self._slew.rate_per_s
        )


def _time_to_charge(left_as: float, from_a: float, to_a: float, slew_a_per_s: float) -> float:
    """Solve charge(t) + i(t)^2/(2 s) = left for t, with i going from one current to another at s
    and staying. [s]
    """
    left_as -= from_a * from_a / (2.0 * slew_a_per_s)
    if left_as <= 0.0:
        return 0.0
    ramp_s = abs(to_a - from_a) / slew_a_per_s
    if to_a > from_a:
        # 2*i*t + s*t^2 = left: what flows on the way up and again on the way down.
        root_a = math.sqrt(from_a * from_a + slew_a_per_s * left_as)
        rise_s = (root_a - from_a) / slew_a_per_s
        if rise_s <= ramp_s:
            return rise_s
        left_as -= 2.0 * from_a * ramp_s + slew_a_per_s * ramp_s * ramp_s
    # On the way down nothing is used up: what flows now need not flow later.
    return ramp_s + left_as / to_a if to_a > 0.0 else math.inf
