"""A policy as a file again, so that it can be sent, kept, and read like any other."""

from __future__ import annotations

import json
from enum import Enum
from functools import lru_cache
from typing import Any, get_type_hints

from apis_core.config.branches import TOPOLOGY_KEY, branches_part
from apis_core.config.policy import METER_NAMES, MODE_NAMES, SIDE_NAMES, USUAL_VALUES, Policy
from apis_core.config.validation import Key
from apis_core.model.types import Direction, Meter, OperationMode
from apis_core.model.units import SECOND_NS

__all__ = ["policy_file"]

_PERCENT_DIGITS = 9  # what is lost when a share becomes a percentage and a share again


@lru_cache(maxsize=8)
def policy_file(policy: Policy) -> str:
    """JSON that :func:`~apis_core.config.policy.parse_policy` makes the same policy of."""
    data: dict[str, Any] = {}
    for name, hint in get_type_hints(Policy, include_extras=True).items():
        keys = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Key)]
        value = getattr(policy, name)
        if keys and value is not None and value != USUAL_VALUES.get(name):
            _put(data, keys[-1].path, _as_written(name, value))
    _put(data, TOPOLOGY_KEY, branches_part(policy.topology))
    return json.dumps(data, indent=1)


def _put(data: dict[str, Any], path: str, value: object) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
    data[leaf] = value


def _as_written(name: str, value: Any) -> object:
    if isinstance(value, OperationMode):
        return MODE_NAMES[value]
    if isinstance(value, Meter):
        return METER_NAMES[value]
    if isinstance(value, Direction):
        return SIDE_NAMES[value]
    if isinstance(value, Enum):
        return value.value
    if name.endswith("_ns"):
        return max(value * 1000 // SECOND_NS, 1)
    if name.endswith("_ratio"):
        return round(value * 100.0, _PERCENT_DIGITS)
    return list(value) if isinstance(value, tuple) else value
