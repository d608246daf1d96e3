"""What the interface of the original drivers says of a converter, from what was read of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from apis_core.model.types import Alarm, ConverterMode
from apis_driver.device import DcdcStatus, Running

__all__ = ["CODES", "known", "meter_body", "status_body"]

CODES = {
    0x0000: ConverterMode.WAIT,
    0x0002: ConverterMode.DISCHARGE,
    0x0014: ConverterMode.VOLTAGE_REFERENCE,
    0x0041: ConverterMode.CHARGE,
}
_CODE_OF = {mode: code for code, mode in CODES.items()}
_NAMES = {
    ConverterMode.WAIT: "Waiting",
    ConverterMode.DISCHARGE: "Heteronomy CV",
    ConverterMode.VOLTAGE_REFERENCE: "Grid Autonomy",
    ConverterMode.CHARGE: "Heteronomy CV",
    ConverterMode.UNKNOWN: "unknown",
}
_ALARMS = {
    Alarm.NONE: (0, "No alarm"),
    Alarm.LIGHT: (1, "Light alarm"),
    Alarm.HEAVY: (2, "Heavy alarm"),
}
_RUNNING = {
    Running.OFF: (0, "off"),
    Running.CHARGE: (1, "charge"),
    Running.DISCHARGE: (2, "discharge"),
}
_UNKNOWN = (3, "unknown")


def status_body(status: DcdcStatus) -> dict[str, str]:
    """``status`` of an answer."""
    alarm, running = _ALARMS.get(status.alarm, _UNKNOWN), _RUNNING.get(status.running, _UNKNOWN)
    word = re.search(r"alm1 0x([0-9a-f]{1,4})", status.alarm_text)
    code = _CODE_OF.get(status.mode)
    return {
        "status": status.mode_code if code is None else f"0x{code:04x}",
        "alarmState": alarm[1],
        "statusName": "Ignore",
        "alarm": f"{int(word[1], 16) if word else 0:04x} {alarm[0]:04x} {running[0]:04x}",
        "runningState": running[1],
        "operationMode": _NAMES[status.mode],
    }


def meter_body(status: DcdcStatus) -> dict[str, float]:
    """``meter`` of an answer."""
    return known(
        {
            "wg": status.grid_power_w,
            "tmp": status.converter_temp_degc,
            "vb": status.battery_voltage_v,
            "wb": status.battery_power_w,
            "vg": status.grid_voltage_v,
            "ib": status.battery_current_a,
            "ig": status.grid_current_a,
        }
    )


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without those that nobody knows."""
    return {name: value for name, value in values.items() if value is not None}
