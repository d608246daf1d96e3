"""Limits that must hold at every reading, whatever the mode.

Breaking one stops the converter at once, without asking anybody.
"""

from __future__ import annotations

from apis_core.hardware import Hardware
from apis_core.messages import ConverterReading
from apis_core.types import Alarm

__all__ = ["static_violation"]


def static_violation(reading: ConverterReading, hardware: Hardware) -> tuple[str, str] | None:
    """The first broken limit of the hwConfig as (code, message for people); None = all hold.

    A quantity that was not read breaks nothing here; a converter that says nothing at all is dealt
    with as silent.

    Args:
        reading: Of the own converter.
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
