"""ROS messages <-> values of the core, and nothing else.

Both sides have the same fields with the same names, so the dataclass says all: NaN is None, an
enumeration is its number, a duration in ns is seconds, an instant is a stamp. A message that no
value can be made of raises :class:`Untranslatable`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, fields
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from builtin_interfaces.msg import Time

from apis_core.model import messages as core
from apis_core.model.units import ns_from_s, s_from_ns
from apis_interfaces import msg, srv

__all__ = ["MESSAGES", "ROS_TIME", "Instants", "Untranslatable", "from_ros", "to_ros"]

Value = TypeVar("Value")

# core type -> message type, for everything that travels on topics
MESSAGES: dict[type, type] = {
    core.ConverterReading: msg.ConverterState,
    core.Deal: msg.Deal,
    core.Fault: msg.Fault,
    core.GridMasterClaim: msg.GridMasterClaim,
    core.InterchangeAccept: msg.InterchangeAccept,
    core.InterchangeRequest: msg.InterchangeRequest,
    core.LeaseGrant: msg.LeaseGrant,
    core.OperationModeOrder: msg.OperationMode,
    core.PolicyOffer: msg.PolicyOffer,
    core.UnitStatus: msg.UnitStatus,
}
_PARTS: dict[type, Callable[[], Any]] = {
    **MESSAGES,
    core.ControlRequest: srv.UnitControl.Request,
    core.ControlReply: srv.UnitControl.Response,
    core.ConverterOrder: srv.ConverterCommand.Request,
    core.ConverterReply: srv.ConverterCommand.Response,
    core.DealSubmission: srv.SubmitDeal.Request,
    core.SubmitReply: srv.SubmitDeal.Response,
}
_RENAMED = {"error": "error_code", "message": "error_msg", "reading": "state"}
_REPLIES = (core.ControlReply, core.ConverterReply, core.SubmitReply)


class Untranslatable(ValueError):
    """A message holds what the protocol does not know.

    The text says which field and what would be right.
    """


class Instants:
    """Converts between the agent's clock and ROS time.

    Args:
        agent_ns: A moment on the agent's clock.
        ros_ns: The same moment in ROS time.
    """

    def __init__(self, agent_ns: int, ros_ns: int) -> None:
        self._offset_ns = ros_ns - agent_ns

    def to_stamp(self, agent_ns: int) -> Time:
        """A stamp; 0 (has not happened) stays 0."""
        ros_ns = agent_ns + self._offset_ns if agent_ns else 0
        return Time(sec=ros_ns // 10**9, nanosec=ros_ns % 10**9)

    def from_stamp(self, stamp: Time) -> int:
        """A moment on the agent's clock; 0 stays 0."""
        ros_ns = stamp.sec * 10**9 + stamp.nanosec
        return ros_ns - self._offset_ns if ros_ns else 0


ROS_TIME = Instants(0, 0)  # of those whose instants are in ROS time already


def to_ros(value: Any, instants: Instants, now_ns: int, unit_id: str = "") -> Any:
    """The message that says the same as a value of the core.

    Args:
        value: Of a type of :mod:`apis_core.model.messages`.
        instants: For stamps.
        now_ns: Present time on the agent's clock, for the message's own ``stamp``.
        unit_id: Whose converter a reading in it is of, where the value itself names no unit.
    """
    unit_id = getattr(value, "unit_id", unit_id)
    kind: type = type(value)
    message = _PARTS[kind]()
    for name, hint in _hints(kind).items():
        target = _target(kind, name)
        item = getattr(value, name)
        if name.endswith("_ns"):
            if target.endswith("_s"):
                setattr(message, target, s_from_ns(item))
            else:
                setattr(message, target, instants.to_stamp(item))
        elif type(item) in _PARTS:
            setattr(message, target, to_ros(item, instants, now_ns, unit_id))
        elif item is None and core.ConverterReading in _members(hint):
            setattr(message, target, to_ros(core.ConverterReading(), instants, now_ns, unit_id))
        elif float in _members(hint):
            setattr(message, target, math.nan if item is None else float(item))
        elif item is not None:
            is_text_list = isinstance(item, tuple)
            setattr(message, target, list(item) if is_text_list else _plain(item))
    if isinstance(value, core.ConverterReading):
        message.unit_id = unit_id
    if hasattr(message, "stamp") and "stamp_ns" not in _hints(kind):
        message.stamp = instants.to_stamp(now_ns)
    return message


def from_ros(message: Any, type_: type[Value], instants: Instants) -> Value:
    """The value of the core that says the same as a message.

    Raises:
        Untranslatable: A field holds what the protocol does not know.
    """
    kind: type = type_
    arguments: dict[str, Any] = {}
    for name, hint in _hints(kind).items():
        target = _target(kind, name)
        item = getattr(message, target)
        if name.endswith("_ns"):
            arguments[name] = (
                ns_from_s(_finite(item, target))
                if target.endswith("_s")
                else instants.from_stamp(item)
            )
            continue
        members = _members(hint)
        part = next((member for member in members if member in _PARTS), None)
        enum = next((m for m in members if isinstance(m, type) and issubclass(m, IntEnum)), None)
        if part is not None:
            if not _is_empty(item):
                arguments[name] = from_ros(item, part, instants)
            elif NoneType in members:
                arguments[name] = None
            # else: the value's own default, with everything unknown
        elif enum is not None:
            arguments[name] = (
                None if item == 0 and NoneType in members else _enum(enum, item, target)
            )
        elif isinstance(item, float):
            if not math.isnan(item) or (NoneType not in members and name not in _defaults(kind)):
                arguments[name] = _finite(item, target)
            elif NoneType in members:
                arguments[name] = None
            # else: NaN stands for the value's own default
        elif isinstance(item, str | int):
            arguments[name] = item
        else:
            arguments[name] = tuple(item)
    return type_(**arguments)


# --- inside --------------------------------------------------------------------------------------


@cache
def _hints(type_: type) -> dict[str, Any]:
    hints = get_type_hints(type_)
    return {field.name: hints[field.name] for field in fields(type_)}


@cache
def _defaults(type_: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(type_) if field.default is not MISSING)


@cache
def _members(hint: Any) -> tuple[Any, ...]:
    is_union = get_origin(hint) in (Union, UnionType)
    return get_args(hint) if is_union else (hint,)


@cache
def _target(type_: type, name: str) -> str:
    """Name of a field in the message."""
    if name in _RENAMED and (type_ in _REPLIES):
        return _RENAMED[name]
    if name == "stamp_ns":
        return "stamp"
    if name.endswith("_ns"):
        stem = name.removesuffix("_ns")
        return f"{stem}_at" if type_ is core.Deal else f"{stem}_s"
    return name


def _is_empty(message: Any) -> bool:
    """Whether a part of a message was never filled in: no deal, or no reading."""
    if isinstance(message, msg.Deal):
        return not message.deal_id
    if isinstance(message, msg.ConverterState):
        stamp = message.stamp
        return message.mode == message.MODE_UNKNOWN and not (stamp.sec or stamp.nanosec)
    return False


def _plain(item: Any) -> Any:
    return item.value if isinstance(item, IntEnum) else item


def _enum(enum: type[IntEnum], item: int, name: str) -> IntEnum:
    try:
        return enum(item)
    except ValueError:
        known = ", ".join(f"{member.value} {member.name}" for member in enum)
        raise Untranslatable(f"{name} is {item}; it must be one of {known}") from None


def _finite(item: float, name: str) -> float:
    if not math.isfinite(item):
        raise Untranslatable(f"{name} is {item}; it must be a finite number")
    return item
