"""What a unit of the original shows: mostly constants that nothing ever changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

__all__ = ["MODES", "completed", "filtered", "unit_document", "wrong_in"]

# The converter's modes, and what the interface calls them.
MODES: dict[str, dict[str, str]] = {
    "0x0000": {
        "statusName": "Waiting",
        "operationMode": "Waiting",
        "runningState": "off",
    },
    "0x0002": {
        "statusName": "Heteronomy CV Discharging",
        "operationMode": "Heteronomy CV",
        "runningState": "discharge",
    },
    "0x0014": {
        "statusName": "Grid Autonomy Mode",
        "operationMode": "Grid Autonomy",
        "runningState": "discharge",
    },
    "0x0041": {
        "statusName": "Heteronomy CV Charging - grid current limited",
        "operationMode": "Heteronomy CV",
        "runningState": "charge",
    },
}

_UNIT: dict[str, Any] = {
    "emu": {
        "charge_discharge_power": 27,
        "system_time": {"year": 2014, "month": 12, "day": 20, "hour": 23, "minute": 5},
        "pvc_charge_current": 0,
        "ups_input_voltage": 102.8,
        "rsoc": 50,
        "battery_current": -0.52,
        "battery_voltage": 52.1,
        "pvc_charge_voltage": 0.28,
        "ups_operation_mode": {"parameter": 80, "mode": 2, "stop_mode": 2},
        "ups_operation_schedule": 1,
        "ups_output_power": 0,
        "battery_rsoc": 34,
        "ups_output_frequency": 60,
        "pvc_charge_power": 0,
        "ups_output_current": 11.7,
        "dischargeable_time": {"minute": 0, "hour": 0},
        "ups_output_voltage": 102.8,
    },
    "dcdc": {
        "status": {
            "status": "0x0000",
            "alarm": "4010 0080 0000",
            "alarmState": "Light alarm",
            **MODES["0x0000"],
        },
        "powermeter": {"p2": 0.0, "p1": 0.0, "i1": 0, "kwh1": 0, "kwh2": 0, "v1": 206.1},
        "param": {"cib": 25.0, "ubv": 40.0, "ogv": 400, "dig": 2.0, "obv": 59.0, "ugv": 300},
        "vdis": {"dvg": 359.98, "drg": 0.0},
        "meter": {
            "wg": 0.0,
            "tmp": 26.59,
            "vb": 48,
            "wb": -4.5,
            "vg": 0.0,
            "ib": -0.27,
            "ig": -0.0,
        },
    },
    "oesunit": {
        "on": True,
        "ipv6_ll": "fe80::1eba:8cff:fee1:604f%eth0",
        "mac": "1c:ba:8c:e1:60:4f",
        "ipv6_g": "NA",
        "sn": "2",
        "budo": "1",
    },
    "time": "2014/12/20-22:39:48",  # until the first step
}

# What most answers show of a converter.
_SHOWN = {
    "status": ("status", "alarmState", "operationMode"),
    "meter": ("wg", "tmp", "vb", "wb", "vg", "ib", "ig"),
    "vdis": ("dvg", "drg"),
    "param": ("dig",),
}


def unit_document(number: int) -> dict[str, Any]:
    """A unit as it begins; `number` counts from 1."""
    document = copy.deepcopy(_UNIT)
    unit_id = f"E{number:03}"
    document["oesunit"] |= {
        "ip": f"localhost:4390/E00{number - 1}",
        "display": f"Sample_{unit_id}",
        "id": unit_id,
    }
    return document


def completed(document: object, number: int) -> object:
    """A unit that was saved, with the values that its parts lack; `number` counts from 1.

    What it is all about, the state of charge, is not made up.
    """
    if not isinstance(document, dict):
        return document
    like = unit_document(number)
    del like["emu"]["rsoc"]
    made = {key: _completed(value, like.get(key)) for key, value in document.items()}
    if isinstance(made.get("oesunit"), dict):
        made["oesunit"]["id"] = f"E{number:03}"
    return made


def _completed(value: object, like: object) -> Any:
    if not (isinstance(value, dict) and isinstance(like, dict)):
        return value
    missing = {key: inner for key, inner in like.items() if key not in value}
    return missing | {key: _completed(inner, like.get(key)) for key, inner in value.items()}


def filtered(dcdc: Mapping[str, Any], *parts: str) -> dict[str, Any]:
    """What is shown of some parts of a converter, or of all parts that are shown at all."""
    return {
        part: {key: dcdc[part][key] for key in _SHOWN[part] if dcdc[part].get(key) is not None}
        for part in parts or _SHOWN
        if dcdc.get(part) is not None
    }


def wrong_in(document: object) -> str:
    """What keeps a document from being a unit, as text; empty if nothing does."""
    return _wrong_in(document, _UNIT, "")


def _wrong_in(value: object, like: object, path: str) -> str:
    """Compare with a pattern: the same keys, and values of the same kind."""
    if isinstance(like, dict):
        if not isinstance(value, dict):
            return f"{path or 'it'} must be an object"
        for key, inner in like.items():
            here = f"{path}.{key}" if path else key
            wrong = (
                f"{here} is missing" if key not in value else _wrong_in(value[key], inner, here)
            )
            if wrong:
                return wrong
        return ""
    if isinstance(like, bool):
        is_right, what = isinstance(value, bool), "true or false"
    elif isinstance(like, str):
        is_right, what = isinstance(value, str), "text"
    else:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_right, what = is_number, "a number"
    return "" if is_right else f"{path} is {value!r}, it must be {what}"
