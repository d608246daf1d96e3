"""What a unit checks of its own converter, at every reading.

Static limits hold whatever the mode; breaking one stops the converter at once, without asking
anybody. Dynamic ones say that the converter does what it was told; they are broken only when they
have been so for a while (:class:`Debounce`), and the deals are then ended orderly.
"""

from __future__ import annotations

from collections.abc import Collection

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.model.messages import ConverterReading
from apis_core.model.types import Alarm, ConverterMode, Direction

__all__ = ["dynamic_violation", "mode_violation", "static_violation"]


def static_violation(reading: ConverterReading, hardware: Hardware) -> tuple[str, str] | None:
    """The first broken limit of the hwConfig as (code, message for people); None = all hold.

    A quantity that was not read breaks nothing here; a converter that says nothing at all is dealt
    with as silent.

    Args:
        reading: The newest reading of the own converter.
        hardware: With the ranges of ``safety.range``.
    """
    if reading.alarm is Alarm.HEAVY:
        return "converter_heavy_alarm", "the converter reports a heavy alarm"
    limits = hardware.limits
    for name, unit, value, range_ in (
        ("converter_temp", "degC", reading.converter_temp_degc, limits.converter_temp_degc),
        ("grid_voltage", "V", reading.grid_voltage_v, limits.grid_voltage_v),
        ("grid_current", "A", reading.grid_current_a, limits.grid_current_a),
        ("battery_voltage", "V", reading.battery_voltage_v, limits.battery_voltage_v),
        ("battery_current", "A", reading.battery_current_a, limits.battery_current_a),
    ):
        if value is not None and not range_.min <= value <= range_.max:
            return (
                f"{name}_out_of_range",
                f"{name.replace('_', ' ')} is {value:.2f} {unit}, "
                f"outside {range_.min:g}..{range_.max:g} {unit}",
            )
    return None


def dynamic_violation(
    reading: ConverterReading, hardware: Hardware, policy: Policy, *, is_voltage_masked: bool
) -> tuple[str, str] | None:
    """How the converter does not do what it was told, as (code, message); None = it does.

    The protocol, 10.4; currents are compared with their signs.

    Args:
        reading: The newest reading of the own converter.
        hardware: With the allowance of its current.
        policy: With the allowance of the bus voltage, and its range.
        is_voltage_masked: The reference's voltage is being moved, or handed over.
    """
    mode, current_a, bus_v = reading.mode, reading.grid_current_a, reading.grid_voltage_v
    if mode is ConverterMode.UNKNOWN:
        return "mode_unknown", "the converter does not say its mode"
    if mode is ConverterMode.WAIT:
        goal_a = 0.0
    elif current_a is None or bus_v is None:
        # it may be anything; and while it is not known, no leak can be told on the whole bus
        name = "current" if current_a is None else "voltage"
        return "meter_unknown", f"in {mode.name} the converter does not say its grid {name}"
    elif mode is ConverterMode.VOLTAGE_REFERENCE:
        setpoint_v = reading.grid_voltage_setpoint_v
        if is_voltage_masked:
            return None
        if setpoint_v is None:
            return "setpoint_unknown", "the converter does not say what voltage it is to hold"
        if abs(bus_v - setpoint_v) > policy.grid_voltage_allowance_v:
            return (
                "voltage_off_setpoint",
                f"the bus is at {bus_v:.1f} V, its reference is to hold {setpoint_v:g} V",
            )
        return None
    else:
        setpoint_a = reading.grid_current_setpoint_a
        if setpoint_a is None:
            return "setpoint_unknown", "the converter does not say what current it is to carry"
        goal_a = setpoint_a if mode is ConverterMode.CHARGE else -setpoint_a
        low_v, high_v = policy.grid_voltage_min_v, policy.grid_voltage_max_v
        if not low_v <= bus_v <= high_v:
            return (
                "bus_voltage_out_of_range",
                f"the bus is at {bus_v:.1f} V, outside {low_v:g}..{high_v:g} V",
            )
    if current_a is not None and abs(current_a - goal_a) > hardware.grid_current_allowance_a:
        return (
            "current_off_setpoint",
            f"in {mode.name} it carries {current_a:+.3f} A, it is to carry {goal_a:+.3f} A",
        )
    return None


def mode_violation(
    mode: ConverterMode,
    directions: Collection[Direction],
    *,
    is_reference: bool | None,
) -> tuple[str, str] | None:
    """How the converter's mode does not fit the deals that use it, as (code, message).

    The protocol, 10.3. A converter that is off fits: a deal that is to start, or has just ended,
    leaves it so, and one that stops by itself loses its deals.

    Args:
        mode: The mode of the converter.
        directions: This unit's directions in the deals that have a share of its current.
        is_reference: Whether orders have made it hold the bus voltage; None = they may have.
    """
    if not directions:
        fits = mode is ConverterMode.WAIT
        return None if fits else ("on_without_deal", f"it is in {mode.name} for no deal")
    if mode is ConverterMode.WAIT:
        return None
    if mode is ConverterMode.VOLTAGE_REFERENCE and is_reference is not False:
        return None
    wanted = {direction.converter_mode for direction in directions}
    if wanted == {mode} and not is_reference:
        return None
    names = " and ".join(sorted(direction.name for direction in directions))
    if is_reference:
        names += " and to hold the voltage"
    return "mode_against_deal", f"it is in {mode.name}, its deals want it to {names}"
