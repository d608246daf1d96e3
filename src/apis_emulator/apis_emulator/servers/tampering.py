"""What one can do to the emulated devices while the grid runs, as parameters of the emulator.

======================  ==========================================================================
``e001.plugged``        false pulls the plug of both serial lines
``e001.silent``         true: no answer arrives
``e001.delay_s``        every answer comes later by this, >= 0
``e001.flips_per_bit``  probability that a bit arrives wrong, 0..1
``e001.cut_ratio``      share of the answers that end in the middle, 0..1
``e001.bad_sum_ratio``  share of the answers with a wrong checksum, 0..1
``e001.noise_ratio``    share of the answers behind garbage, 0..1
``e001.alarm``          ``none``, ``light`` or ``heavy`` (which switches the converter off)
``e001.permit``         false: the battery permits no sharing
======================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apis_core.model.types import Alarm
from apis_emulator.servers.serving import DeviceServers, UnitDevices
from apis_ros.parameters import NodeParameter

__all__ = ["TamperingError", "defaults", "parameters_of", "tamper"]

_ABOUT = {
    "plugged": "False pulls the plug of both serial lines",
    "silent": "True: no answer arrives",
    "delay_s": "Every answer comes later by this [s]",
    "flips_per_bit": "Probability that a bit arrives wrong",
    "cut_ratio": "Share of the answers that end in the middle",
    "bad_sum_ratio": "Share of the answers with a wrong checksum",
    "noise_ratio": "Share of the answers behind garbage",
    "alarm": "none, light or heavy (which switches the converter off)",
    "permit": "False: the battery permits no sharing",
}
_LINE = ("delay_s", "flips_per_bit", "cut_ratio", "bad_sum_ratio", "noise_ratio")
_LONGEST_DELAY_S = 60.0
_ALARMS = ("none", "light", "heavy")


class TamperingError(ValueError):
    """A parameter has no such value."""


def defaults(devices: DeviceServers) -> dict[str, bool | float | str]:
    """Every parameter with the value that it has at the start."""
    values: dict[str, bool | float | str] = {}
    for unit_id, unit in devices.by_unit.items():
        name = unit_id.lower()
        values |= {f"{name}.silent": False, f"{name}.alarm": "none", f"{name}.permit": True}
        if unit.dcdc_line is None:
            values[f"{name}.delay_s"] = 0.0
            continue
        values[f"{name}.plugged"] = True
        values |= {f"{name}.{key}": getattr(unit.dcdc_line.faults, key) for key in _LINE}
    return values


def parameters_of(devices: DeviceServers, *, is_open: bool) -> list[NodeParameter]:
    """The same as parameters of a node.

    Args:
        devices: Whose.
        is_open: Whether anybody may change them. In a grid with keys nobody may: the parameter
            services are not signed.
    """
    found = []
    for name, value in defaults(devices).items():
        key = name.partition(".")[2]
        most = (_LONGEST_DELAY_S if key == "delay_s" else 1.0) if key in _LINE else None
        found.append(
            NodeParameter(
                name=name,
                default=value,
                about=_ABOUT[key],
                least=None if most is None else 0.0,
                most=most,
                is_changeable=is_open,
            )
        )
    return found


def tamper(devices: DeviceServers, changes: Iterable[tuple[str, Any]]) -> None:
    """Do it.

    Args:
        devices: To whom.
        changes: Parameters and their new values; names as in :func:`defaults`.

    Raises:
        TamperingError: A value makes no sense; nothing was changed.
    """
    orders = []
    for parameter, value in changes:
        unit_name, _, key = parameter.partition(".")
        if unit_name.upper() in devices.by_unit:
            orders.append((devices.by_unit[unit_name.upper()], key, _checked(parameter, value)))
    for unit, key, value in orders:
        _apply(devices, unit, key, value)


def _checked(parameter: str, value: Any) -> Any:
    key = parameter.partition(".")[2]
    if key == "alarm":
        if value not in _ALARMS:
            raise TamperingError(f"{parameter} is {value!r}, it must be one of {_ALARMS}")
    elif key in _LINE:
        most = _LONGEST_DELAY_S if key == "delay_s" else 1.0
        if not 0.0 <= value <= most:
            raise TamperingError(f"{parameter} is {value}, it must be from 0 to {most:g}")
    return value


def _apply(devices: DeviceServers, unit: UnitDevices, key: str, value: Any) -> None:
    lines = [line for line in (unit.dcdc_line, unit.battery_line) if line is not None]
    if key == "plugged":
        for line in lines:
            (line.plug_in if value else line.unplug)()
    elif key == "permit":
        unit.permit.is_given = value
    elif key == "alarm":
        with devices.lock:
            converter = unit.eza.plant.units[unit.eza.unit_id].converter
            if value == "heavy":
                converter.trip("heavy alarm, by the emulator's parameter")
            else:
                converter.alarm = Alarm.LIGHT if value == "light" else Alarm.NONE
    elif unit.http is not None:
        setattr(unit.http, "is_silent" if key == "silent" else key, value)
    else:
        for line in lines:
            setattr(line.faults, "is_silent" if key == "silent" else key, value)
