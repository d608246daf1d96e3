"""ROS messages as plain Python data, for printing and for reports."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, cast

import yaml

__all__ = ["constant_name", "iso_time", "message_class", "to_plain", "to_yaml"]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def message_class(type_name: str) -> type:
    """The Python class of a ROS type such as ``apis_interfaces/msg/Deal``."""
    package, kind, name = type_name.split("/")
    return cast(type, getattr(importlib.import_module(f"{package}.{kind}"), name))


def to_plain(value: Any) -> Any:
    """A message, or what stands in one, as dicts, lists, numbers and text. NaN becomes None."""
    if hasattr(value, "get_fields_and_field_types"):
        return {
            name: to_plain(getattr(value, name)) for name in value.get_fields_and_field_types()
        }
    if hasattr(value, "tolist"):  # numpy and array.array
        return to_plain(value.tolist())
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_yaml(data: Mapping[str, Any]) -> str:
    """Plain data as YAML, in the order of the fields."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None)


def constant_name(message_type: type, prefix: str, value: int) -> str:
    """Name of a constant without its prefix: (``ConverterState``, ``MODE_``, 1) is ``WAIT``."""
    constants = {
        name: getattr(message_type, name) for name in dir(message_type) if name.startswith(prefix)
    }
    names = [name for name, constant in constants.items() if constant == value]
    return names[0].removeprefix(prefix) if names else f"{prefix}{value}"


def iso_time(stamp: Any, zone: tzinfo) -> str | None:
    """A ROS time as ISO 8601 with its zone; None if it has not happened (0)."""
    if stamp.sec == 0 and stamp.nanosec == 0:
        return None
    instant = EPOCH + timedelta(seconds=stamp.sec, microseconds=stamp.nanosec // 1000)
    return instant.astimezone(zone).isoformat(timespec="milliseconds")
