"""Meters that lie, sensors that are wrong, batteries and drivers that fall silent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode, UnitId
from apis_core.model.units import SECOND_NS
from apis_emulator.faults import BrokenHardware

__all__ = ["QUANTITIES", "DeviceFaults", "MeterFault", "SensorFault"]

# what a person calls it -> the field of a reading
QUANTITIES = {
    "grid_voltage": "grid_voltage_v",
    "grid_current": "grid_current_a",
    "battery_voltage": "battery_voltage_v",
    "battery_current": "battery_current_a",
    "temperature": "converter_temp_degc",
}
_POWERS = {
    "grid_power_w": ("grid_voltage_v", "grid_current_a"),
    "battery_power_w": ("battery_voltage_v", "battery_current_a"),
}
_CHARGED = ("grid_charged_wh", "battery_charged_wh")
_DISCHARGED = ("grid_discharged_wh", "battery_discharged_wh")


@dataclass(frozen=True, slots=True)
class MeterFault:
    """What is wrong with a unit's energy counters from now on.

    Attributes:
        gain: They count so many times what flows; 1 = right, 0 = they stand still.
        jump_wh: They are this much higher at once, in the direction in which the converter works
            (both if it is off); below 0 = they go back. [Wh]
    """

    gain: float = 1.0
    jump_wh: float = 0.0


@dataclass(frozen=True, slots=True)
class SensorFault:
    """What is wrong with one sensor of a converter.

    Attributes:
        field: Of the reading.
        offset: It reads so much too high.
        value: It always reads this; NaN = nothing at all; None = it does not.
    """

    field: str
    offset: float = 0.0
    value: float | None = None


class DeviceFaults:
    """What is wrong with the devices of a run now; nothing at first.

    Args:
        broken: What the drivers know of it.

    Attributes:
        silent_batteries: Units whose battery says nothing.
        misreads: Whether any reading is wrong.
    """

    def __init__(self, broken: BrokenHardware) -> None:
        self.silent_batteries: set[UnitId] = set()
        self.misreads = False
        self._broken = broken
        self._delays_ns: dict[UnitId, int] = {}
        self._sensors: dict[UnitId, list[SensorFault]] = {}
        self._meters: dict[UnitId, dict[str, _Counter]] = {}

    def is_cut_off(self, unit_id: UnitId) -> bool:
        """Whether a unit's driver neither hears nor says anything."""
        return unit_id in self._broken.silent or unit_id in self._broken.halted

    def slow(self, unit_id: UnitId, delay_s: float) -> None:
        """A driver takes so much longer over each order; 0 = no longer. [s]"""
        self._delays_ns[unit_id] = round(delay_s * SECOND_NS)

    def delay_ns(self, unit_id: UnitId) -> int:
        """How much longer the driver takes over an order."""
        return self._delays_ns.get(unit_id, 0)

    def break_sensor(self, unit_id: UnitId, fault: SensorFault) -> None:
        """A sensor begins to be wrong."""
        self._sensors.setdefault(unit_id, []).append(fault)
        self.misreads = True

    def mend_sensor(self, unit_id: UnitId, fault: SensorFault) -> None:
        """It is right again."""
        self._sensors[unit_id].remove(fault)

    def break_meter(self, unit_id: UnitId, fault: MeterFault, true: ConverterReading) -> None:
        """The counters begin to be wrong, or (a gain of 1) go on right from where they stand.

        Args:
            unit_id: Whose.
            fault: What is wrong.
            true: What the converter reads now.
        """
        counters = self._meters.setdefault(unit_id, {})
        jumping: tuple[str, ...] = _CHARGED + _DISCHARGED
        if true.mode is not ConverterMode.WAIT and true.grid_current_a:
            jumping = _CHARGED if true.grid_current_a > 0.0 else _DISCHARGED
        for name in _CHARGED + _DISCHARGED:
            true_wh = getattr(true, name) or 0.0
            before = counters.get(name)
            shown_wh = true_wh if before is None else before.shown_wh(true_wh)
            if name in jumping:
                shown_wh = max(shown_wh + fault.jump_wh, 0.0)
            counters[name] = _Counter(true_wh, shown_wh, fault.gain)
        self.misreads = True

    def seen(self, unit_id: UnitId, reading: ConverterReading) -> ConverterReading:
        """What a converter says instead of what is true."""
        counters, sensors = self._meters.get(unit_id), self._sensors.get(unit_id)
        if counters:
            wrong: dict[str, Any] = {
                name: counter.shown_wh(getattr(reading, name))
                for name, counter in counters.items()
            }
            reading = replace(reading, **wrong)
        return _misread(reading, sensors) if sensors else reading


@dataclass(frozen=True, slots=True)
class _Counter:
    """A counter since it was wrong last."""

    true_wh: float
    base_wh: float
    gain: float

    def shown_wh(self, true_wh: float) -> float:
        return self.base_wh + self.gain * (true_wh - self.true_wh)


def _misread(reading: ConverterReading, sensors: list[SensorFault]) -> ConverterReading:
    values: dict[str, Any] = {}
    for fault in sensors:
        value = values.get(fault.field, getattr(reading, fault.field))
        if fault.value is not None:
            value = None if math.isnan(fault.value) else fault.value
        elif value is not None:
            value += fault.offset
        values[fault.field] = value
    for power, factors in _POWERS.items():
        volts, amperes = (values.get(name, getattr(reading, name)) for name in factors)
        values[power] = None if volts is None or amperes is None else volts * amperes
    return replace(reading, **values)
