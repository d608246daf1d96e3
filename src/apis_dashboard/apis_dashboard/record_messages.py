"""Messages to the page's records, by the names of the fields; nothing else knows a message.

What is not known (NaN, a stamp of 0) becomes None, and an enumeration's value that we do not know
becomes 0, which is "unknown" or "unset": a page shows what it can, and refuses nothing.
"""

from __future__ import annotations

import math
from dataclasses import fields
from enum import IntEnum
from functools import cache
from types import NoneType
from typing import Any, get_args, get_type_hints

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from apis_dashboard.records import (
    BusRecord,
    ConverterRecord,
    DealRecord,
    DiagnosticRecord,
    FaultRecord,
    HouseRecord,
    ModeOrder,
    PriceRecord,
    Record,
    UnitRecord,
)
from apis_interfaces import msg

__all__ = ["records"]

_RECORDS: dict[type, type] = {
    msg.BusState: BusRecord,
    msg.ConverterState: ConverterRecord,
    msg.Deal: DealRecord,
    msg.Fault: FaultRecord,
    msg.HouseState: HouseRecord,
    msg.OperationMode: ModeOrder,
    msg.UnitStatus: UnitRecord,
}
_OURS = {(DealRecord, "steps")}  # the model fills it in
_RENAMED = {
    (ConverterRecord, "temp_degc"): "converter_temp_degc",
    (HouseRecord, "solar_w"): "solar_power_w",
    (HouseRecord, "load_w"): "load_power_w",
    (HouseRecord, "mains_w"): "mains_power_w",
    (HouseRecord, "unserved_w"): "unserved_load_w",
}


def records(message: Any) -> tuple[Record, ...]:
    """What a message tells, as records: none, one, or several."""
    if isinstance(message, DiagnosticArray):
        return tuple(map(_diagnosis, message.status))
    if isinstance(message, msg.InterchangeRequest | msg.InterchangeAccept):
        return _prices(message)
    kind = _RECORDS.get(type(message))
    return () if kind is None else (_record(message, kind),)


def _record(message: Any, kind: type) -> Any:
    given: dict[str, Any] = {}
    for name, hint in _hints(kind).items():
        if (kind, name) not in _OURS:
            given[name] = _value(getattr(message, _target(kind, name)), hint)
    if kind is UnitRecord:  # one that has said nothing of its battery yet says 0
        given["capacity_wh"] = given["capacity_wh"] or None
    return kind(**given)


def _value(item: Any, hint: Any) -> Any:
    members = get_args(hint) or (hint,)
    if isinstance(item, Time):
        return (item.sec + item.nanosec * 1e-9) or None
    if isinstance(item, msg.ConverterState):  # None: a unit that has not read it yet
        return _record(item, ConverterRecord) if item.mode != item.MODE_UNKNOWN else None
    if isinstance(item, float):
        return None if NoneType in members and not math.isfinite(item) else item
    if isinstance(item, str | bool):
        return item
    if isinstance(item, int):
        enum = members[0]
        return _member(enum, item) if issubclass(enum, IntEnum) else item
    return tuple(item)


def _member(enum: type[IntEnum], value: int) -> IntEnum:
    return enum(value) if value in enum.__members__.values() else enum(0)


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _target(kind: type, name: str) -> str:
    """The name of a field in the message; stamps are there called ``*_at`` and ``stamp``."""
    if name == "stamp_s" or name.endswith("_at_s"):
        return name.removesuffix("_s")
    return _RENAMED.get((kind, name), name)


def _prices(message: msg.InterchangeRequest | msg.InterchangeAccept) -> tuple[Record, ...]:
    """The price in a question or an answer; none where any price is right."""
    names_a_side = message.type in (message.TYPE_CHARGE, message.TYPE_DISCHARGE)
    if not names_a_side or not math.isfinite(message.price_point_per_wh):
        return ()
    price = PriceRecord(
        unit_id=message.unit_id,
        is_asked=message.type == message.TYPE_DISCHARGE,
        price_point_per_wh=message.price_point_per_wh,
        stamp_s=_value(message.stamp, float),
    )
    return (price,)


def _diagnosis(status: DiagnosticStatus) -> DiagnosticRecord:
    """What a process says of its own health; its hardware_id is the unit's id."""
    return DiagnosticRecord(
        unit_id=status.hardware_id,
        level=status.level[0] if isinstance(status.level, bytes) else int(status.level),
        message=status.message,
        values=tuple((value.key, value.value) for value in status.values),
    )
