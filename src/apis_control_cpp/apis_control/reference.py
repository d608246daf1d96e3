"""The slow twin: the same parts in plain Python, exact where that is easy. Tests compare the C++
against it.

Size: a twin has the attributes of what it is the twin of; the C++ keeps them in structs.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

__all__ = ["Controller", "EnergyMeter", "SlewLimiter"]

_SECONDS_PER_HOUR = 3600


class EnergyMeter:
    """As :class:`apis_control.EnergyMeter`, summing in exact rational numbers."""

    def __init__(self) -> None:
        self._charged_ws = Fraction(0)
        self._discharged_ws = Fraction(0)
        self._last_power_w: Fraction | None = None

    def add(self, power_w: float, dt_s: float) -> None:
        """Trapezoid with the sample before; a crossing of zero is split."""
        power, dt = Fraction(power_w), Fraction(dt_s)
        before = power if self._last_power_w is None else self._last_power_w
        if before * power < 0:
            crossing = dt * before / (before - power)
            self._count(before * crossing / 2)
            self._count(power * (dt - crossing) / 2)
        else:
            self._count((before + power) * dt / 2)
        self._last_power_w = power

    def add_mean(self, power_w: float, dt_s: float) -> None:
        """An interval of known mean power."""
        self._count(Fraction(power_w) * Fraction(dt_s))
        self._last_power_w = Fraction(power_w)

    @property
    def charged_wh(self) -> float:
        """Energy of positive power. [Wh, >= 0]"""
        return float(self._charged_ws / _SECONDS_PER_HOUR)

    @property
    def discharged_wh(self) -> float:
        """Energy of negative power, as a positive number. [Wh, >= 0]"""
        return float(self._discharged_ws / _SECONDS_PER_HOUR)

    def _count(self, energy_ws: Fraction) -> None:
        if energy_ws > 0:
            self._charged_ws += energy_ws
        else:
            self._discharged_ws -= energy_ws


class SlewLimiter:
    """As :class:`apis_control.SlewLimiter`."""

    def __init__(self, rate_per_s: float, value: float = 0.0) -> None:
        self.rate_per_s = rate_per_s
        self.value = value

    def step(self, reference: float, dt_s: float) -> float:
        """Move towards the reference by at most the rate times the time."""
        bound = self.rate_per_s * dt_s
        if abs(reference - self.value) <= bound:
            self.value = reference
        else:
            self.value += bound if reference > self.value else -bound
        return self.value

    def reset(self, value: float) -> None:
        """Jump."""
        self.value = value


WAIT, REFERENCE, DISCHARGE, CHARGE = 1, 2, 3, 4  # modes
NO_ALARM, LIGHT, HEAVY = 1, 2, 3
NO_CAUSE, ENERGY_REACHED, HOLD_EXPIRED, TRIP = 0, 1, 2, 3
_SIDES = {CHARGE: 1.0, DISCHARGE: -1.0}

CONVERTER = {
    "rated_current_a": 7.8125,
    "rated_power_w": 2500.0,
    "current_slew_a_per_s": 1.0,
    "voltage_up_v_per_s": 30.0,
    "voltage_down_v_per_s": 60.0,
    "waiting_w": 4.5,
    "constant_w": 30.0,
    "linear": 0.010,
    "quadratic_per_w": 8.0e-6,
    "over_current_trip_a": math.inf,
    "over_voltage_trip_v": 400.0,
    "under_voltage_trip_v": 260.0,
    "over_temp_trip_degc": math.inf,
    "under_temp_trip_degc": -math.inf,
    "saturation_trip_s": 0.5,
    "dead_bus_v": 1.0,
}
CONTROL = {
    "current_step_a": math.inf,
    "voltage_step_v": math.inf,
    "compensation_per_s": 2.0,
    "compensation_limit_a": 0.2,
    "voltage_gain_a_per_v": 0.4,
    "voltage_integral_a_per_v_s": 10.0,
    "droop_filter_s": 0.02,
    "measurement_limit_s": 0.1,
}


class Refused(Exception):
    """An order that the converter is in no state for."""


class Controller:
    """As :class:`apis_control.Controller`, one rule after the other.

    Attributes:
        mode: What the converter does.
        cause: Why it left its last active mode by itself.
        ramp_a: Where the reference of a current source is. [A]
        trim_a: Its compensation. [A]
        meter: Counts at the bus.
    """

    def __init__(
        self, converter: dict[str, float] | None = None, control: dict[str, float] | None = None
    ) -> None:
        self.p = CONVERTER | (converter or {})
        self.q = CONTROL | (control or {})
        self.meter = EnergyMeter()
        self.mode, self.cause, self.alarm = WAIT, NO_CAUSE, NO_ALARM
        self.is_stopping = False
        self._pending = NO_CAUSE
        self._limit_wh: float | None = None
        self._next_a = 0.0
        self._base_wh = 0.0
        self.setpoint_a = self.setpoint_v = self.droop_ratio = self.regulated_v = 0.0
        self.has_held = False
        self.saturated_s = 0.0
        self.hold_s = self.deadline_s = math.inf
        self.bus_v = self.measured_a = 0.0
        self.temp_degc = 25.0
        self.ramp_a = self.trim_a = self.integral_a = self.droop_a = 0.0
        self._silent_s = 0.0

    # --- orders ----------------------------------------------------------------------------------

    def set_mode(self, mode: int, now_s: float, **order: Any) -> None:
        """Enter an active mode."""
        was_active, was_reference = self.mode != WAIT, self.mode == REFERENCE
        if not was_active:
            self.ramp_a = self.trim_a = self.integral_a = 0.0
        if mode != REFERENCE:
            self.setpoint_v = self.droop_ratio = 0.0
            self.ramp_a, self.trim_a = self.measured_a, 0.0
        elif not was_reference:
            self.regulated_v = self.bus_v
            self.integral_a = self.droop_a = self.measured_a
        self.has_held, self.saturated_s = False, 0.0
        self.mode, self.is_stopping = mode, False
        self.cause, self.alarm = NO_CAUSE, NO_ALARM
        self._limit_wh = order.get("energy_limit_wh")
        self._base_wh = self._counted_wh
        current_a = order.get("current_a")
        self.setpoint_a = self.p["rated_current_a"] if current_a is None else current_a
        self._next_a = order.get("next_current_a", 0.0)
        if mode == REFERENCE:
            voltage_v = order.get("voltage_v")
            self.setpoint_v = self.bus_v if voltage_v is None else voltage_v
            self.droop_ratio = order.get("droop_ratio", 0.0)
        self._renew(order["hold_s"], now_s)

    def set_current(self, current_a: float, now_s: float, hold_s: float | None = None) -> None:
        """Another setpoint."""
        self._must_run()
        self.setpoint_a = current_a
        self._renew(hold_s, now_s)

    def set_voltage(
        self,
        voltage_v: float | None,
        now_s: float,
        droop_ratio: float | None = None,
        hold_s: float | None = None,
    ) -> None:
        """Another voltage, or droop."""
        self._must_run()
        if self.mode != REFERENCE:
            raise Refused
        self.setpoint_v = self.setpoint_v if voltage_v is None else voltage_v
        self.droop_ratio = self.droop_ratio if droop_ratio is None else droop_ratio
        self._renew(hold_s, now_s)

    def hold(
        self,
        hold_s: float,
        now_s: float,
        energy_limit_wh: float | None = None,
        next_current_a: float = 0.0,
    ) -> None:
        """The order goes on."""
        self._must_run()
        if energy_limit_wh is not None:
            self._limit_wh, self._next_a = energy_limit_wh, next_current_a
        self._renew(hold_s, now_s)

    def wait(self, _now_s: float) -> None:
        """Go to WAIT in order."""
        self._stop(NO_CAUSE)
        self.alarm = NO_ALARM

    def _must_run(self) -> None:
        if self.mode == WAIT or self.is_stopping:
            raise Refused

    def _renew(self, hold_s: float | None, now_s: float) -> None:
        if hold_s is not None:
            self.hold_s, self.deadline_s = hold_s, now_s + hold_s

    # --- what is counted -------------------------------------------------------------------------

    @property
    def _counted_wh(self) -> float:
        return self.meter.charged_wh + self.meter.discharged_wh

    @property
    def moved_wh(self) -> float:
        """Since the last order of a mode. [Wh]"""
        return self._counted_wh - self._base_wh

    # --- stopping --------------------------------------------------------------------------------

    def _stop(self, cause: int) -> None:
        if self.mode == WAIT or self.is_stopping:
            return
        self.is_stopping, self._pending = True, cause
        if self.mode != REFERENCE:
            self.setpoint_a = 0.0
        self.setpoint_v = self.droop_ratio = 0.0

    def _off(self, cause: int) -> None:
        self.mode, self.cause, self.is_stopping = WAIT, cause, False
        self.setpoint_a = self.setpoint_v = self.droop_ratio = self.regulated_v = 0.0
        self._limit_wh, self._next_a = None, 0.0

    def _finish(self) -> None:
        self._off(self._pending if self.is_stopping else NO_CAUSE)

    def _trip(self) -> bool:
        """Whether something is out of its limits; then it is off at once."""
        p = self.p
        must_have_bus = self.mode != REFERENCE or self.has_held
        is_silent = self._silent_s > self.q["measurement_limit_s"]
        is_bus_wrong = self.bus_v > p["over_voltage_trip_v"] or (
            self.bus_v < p["under_voltage_trip_v"] and must_have_bus and not self.is_stopping
        )
        is_own = (
            abs(self.measured_a) > p["over_current_trip_a"]
            or not p["under_temp_trip_degc"] <= self.temp_degc <= p["over_temp_trip_degc"]
        )
        is_overloaded = self.mode == REFERENCE and self.saturated_s > p["saturation_trip_s"]
        if not (is_silent or is_bus_wrong or is_own or is_overloaded):
            return False
        self._off(TRIP)
        # what the bus has done to it is seen before what is wrong with itself, but for silence
        is_from_outside = is_bus_wrong or not is_own
        self.alarm = LIGHT if is_from_outside and not is_silent else HEAVY
        return True

    # --- a tick ----------------------------------------------------------------------------------

    def tick(
        self,
        bus_v: float,
        current_a: float,
        dt_s: float,
        now_s: float,
        temp_degc: float | None = None,
    ) -> tuple[bool, float]:
        """Measure, count, protect, follow; returns whether it is on, and the current. [A]"""
        is_read = math.isfinite(bus_v) and math.isfinite(current_a)
        self._silent_s = 0.0 if is_read else self._silent_s + dt_s
        if is_read:
            self.bus_v, self.measured_a = bus_v, current_a
        if temp_degc is not None and math.isfinite(temp_degc):
            self.temp_degc = temp_degc
        self.meter.add(self.bus_v * self.measured_a, dt_s)
        if self.mode == WAIT or self._trip():
            return False, 0.0
        self._watch_hold(now_s)
        if self.mode == WAIT:
            return False, 0.0
        if self.time_to_stop() <= 0.5 * dt_s:
            if self._next_a > 0.0:
                self.setpoint_a, self._next_a, self._limit_wh = self._next_a, 0.0, None
            else:
                self._stop(ENERGY_REACHED)
        out_a = self._hold_voltage(dt_s) if self.mode == REFERENCE else self._follow_current(dt_s)
        return self.mode != WAIT, out_a if self.mode != WAIT else 0.0

    def _watch_hold(self, now_s: float) -> None:
        if now_s >= self.deadline_s:
            self._stop(HOLD_EXPIRED)
            self._finish()
        elif not self.is_stopping:
            if self.mode == REFERENCE:
                down_s = self.bus_v / self.p["voltage_down_v_per_s"]
            else:
                down_s = abs(self.ramp_a) / self.p["current_slew_a_per_s"]
            if now_s >= self.deadline_s - min(down_s, 0.5 * self.hold_s):
                self._stop(HOLD_EXPIRED)

    def _target_a(self) -> float:
        if self.is_stopping:
            return 0.0
        limit_a = self.p["rated_power_w"] / self.bus_v if self.bus_v > 0.0 else 0.0
        return _SIDES.get(self.mode, 0.0) * min(self.setpoint_a, limit_a)

    def time_to_stop(self) -> float:
        """Time until its stop must begin to meet its energy limit. [s]"""
        if self._limit_wh is None or self.is_stopping:
            return math.inf
        left_ws = (self._limit_wh - self.moved_wh) * 3600.0
        if left_ws <= 0.0:
            return 0.0
        if self.bus_v <= 0.0:
            return math.inf
        slew = self.p["current_slew_a_per_s"]
        now_a = abs(self.measured_a if self.mode == REFERENCE else self.ramp_a)
        power_w = now_a * self.bus_v
        if self._next_a > 0.0:
            leaving_a = max(now_a - self._next_a, 0.0)
            left_ws -= power_w * leaving_a / (2.0 * slew)
            return max(left_ws / power_w, 0.0) if power_w > 0.0 else math.inf
        if self.mode == REFERENCE:
            return left_ws / power_w if power_w > 0.0 else math.inf
        goal_a = self._target_a()
        if self.ramp_a * goal_a < 0.0:
            return math.inf
        return _time_to_charge(left_ws / self.bus_v, now_a, abs(goal_a), slew)

    def _follow_current(self, dt_s: float) -> float:
        goal_a = self._target_a()
        next_a = _towards(self.ramp_a, goal_a, self.p["current_slew_a_per_s"] * dt_s)
        gap_a = abs(next_a - self.measured_a)
        is_ahead = gap_a > self.q["current_step_a"] and gap_a > abs(self.ramp_a - self.measured_a)
        if not is_ahead:
            self.ramp_a = next_a
        if self.is_stopping and self.ramp_a == 0.0:
            self._finish()
            return 0.0
        if self.ramp_a == goal_a and not self.is_stopping:
            change_a = self.q["compensation_per_s"] * (self.ramp_a - self.measured_a) * dt_s
            self.trim_a = _within(self.trim_a + change_a, self.q["compensation_limit_a"])
        out_a = self.ramp_a + self.trim_a
        if self.ramp_a == 0.0:
            return 0.0
        return max(out_a, 0.0) if self.ramp_a > 0.0 else min(out_a, 0.0)

    def _hold_voltage(self, dt_s: float) -> float:
        p, q = self.p, self.q
        rising = self.setpoint_v > self.regulated_v
        rate = p["voltage_up_v_per_s" if rising else "voltage_down_v_per_s"]
        next_v = _towards(self.regulated_v, self.setpoint_v, rate * dt_s)
        gap_v = abs(next_v - self.bus_v)
        is_ahead = gap_v > q["voltage_step_v"] and gap_v > abs(self.regulated_v - self.bus_v)
        if not is_ahead:
            self.regulated_v = next_v
        if self.is_stopping:
            if self.bus_v <= p["dead_bus_v"] or self.regulated_v <= 0.0:
                self._finish()
                return 0.0
        elif self.regulated_v == self.setpoint_v and self.bus_v > p["under_voltage_trip_v"]:
            self.has_held = True
        droop_ohm = self.droop_ratio * self.setpoint_v / p["rated_current_a"]
        self.droop_a += (self.measured_a - self.droop_a) * dt_s / (q["droop_filter_s"] + dt_s)
        error_v = self.bus_v - (self.regulated_v + droop_ohm * self.droop_a)
        wanted_a = q["voltage_gain_a_per_v"] * error_v + self.integral_a
        out_a = _within(wanted_a, self.setpoint_a)
        is_saturated = out_a != wanted_a
        if not is_saturated or (wanted_a > 0.0) != (error_v > 0.0):
            change_a = q["voltage_integral_a_per_v_s"] * error_v * dt_s
            self.integral_a = _within(self.integral_a + change_a, self.setpoint_a)
        self.saturated_s = self.saturated_s + dt_s if is_saturated else 0.0
        if is_saturated and not (self.is_stopping or self.has_held):
            self.regulated_v = self.bus_v
        return out_a


def _within(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def _towards(value: float, goal: float, bound: float) -> float:
    return value + _within(goal - value, bound) if abs(goal - value) > bound else goal


def _time_to_charge(left_as: float, from_a: float, to_a: float, slew_a_per_s: float) -> float:
    left_as -= from_a * from_a / (2.0 * slew_a_per_s)
    if left_as <= 0.0:
        return 0.0
    ramp_s = abs(to_a - from_a) / slew_a_per_s
    if to_a > from_a:
        root_a = math.sqrt(from_a * from_a + slew_a_per_s * left_as)
        rise_s = (root_a - from_a) / slew_a_per_s
        if rise_s <= ramp_s:
            return rise_s
        left_as -= 2.0 * from_a * ramp_s + slew_a_per_s * ramp_s * ramp_s
    return ramp_s + left_as / to_a if to_a > 0.0 else math.inf
