"""Parameters of a node: what there is, what it may be, and that no stranger changes it.

Anybody on the network can call the parameter services of a node, and nothing there is signed. So
every parameter is read when the node starts and is read-only from then on, ``use_sim_time``
included, except those that their node says are harmless. A parameter that a node does not know is
refused when it starts: a typing error would take away what was meant.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from apis_core.config.error_messages import expected, shorten, suggestion
from apis_core.model.errors import ConfigError, Problem

__all__ = ["NodeParameter", "declare_parameters", "text_argument"]

_USE_SIM_TIME = "use_sim_time"
_SIM_TIME_ABOUT = "Whether the node lives by /clock; only when it starts"
_OF_RCLPY = "qos_overrides."  # declared by rclpy itself where it is asked to
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeParameter:
    """One parameter of a node.

    Attributes:
        name: As in the parameter file.
        default: Its value if nobody gives one; also its type.
        about: For people, in a line; with the unit.
        least, most: Range of a number.
        is_changeable: Whether anybody may change it while the node runs.
    """

    name: str
    default: bool | int | float | str
    about: str
    least: float | None = None
    most: float | None = None
    is_changeable: bool = False

    def checked(self, value: object, source: str) -> bool | int | float | str:
        """A value of the right type; a whole number is a number, too.

        Raises:
            ConfigError: It is of another type, or out of range.
        """
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        is_right = type(value) is kind
        if is_right and isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = self.least, self.most
            is_right = (
                math.isfinite(value)
                and (low is None or value >= low)
                and (high is None or value <= high)
            )
        if not is_right:
            right = f"must be {_KINDS[kind]}{self._range_text}: {self.about}"
            raise ConfigError([Problem(source, self.name, shorten(value), right)])
        assert isinstance(value, (bool, int, float, str))
        return value

    @property
    def _range_text(self) -> str:
        if self.least is None and self.most is None:
            return ""
        low = "" if self.least is None else f" from {self.least:g}"
        return low + ("" if self.most is None else f" to {self.most:g}")

    def descriptor(self) -> Any:
        """What ``ros2 param describe`` says of it."""
        from rcl_interfaces.msg import (
            FloatingPointRange,
            IntegerRange,
            ParameterDescriptor,
        )

        made = ParameterDescriptor(description=self.about, read_only=not self.is_changeable)
        if self.least is not None and self.most is not None:
            if isinstance(self.default, float):
                made.floating_point_range = [
                    FloatingPointRange(from_value=float(self.least), to_value=float(self.most))
                ]
            else:
                made.integer_range = [
                    IntegerRange(from_value=int(self.least), to_value=int(self.most))
                ]
        return made


def declare_parameters(
    node: Any,
    parameters: Sequence[NodeParameter],
    groups: Mapping[str, str] | None = None,
    *,
    are_all: bool = True,
) -> dict[str, Any]:
    """Declare what a node knows, and refuse what it does not.

    Args:
        node: Of rclpy; its parameter file has been read.
        parameters: What it knows.
        groups: Groups of parameters, such as ``converter``, with a line about each; what stands in
            a group is checked by whoever knows it.
        are_all: Whether the node knows no others; if not, nothing is refused as unknown.

    Returns:
        Values by their names; a group is a mapping, with mappings inside where names have dots.

    Raises:
        ConfigError: Lists what is unknown, of the wrong type, or out of range.
    """
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.parameter import Parameter

    groups = groups or {}
    source = f"{node.get_fully_qualified_name()} parameters"
    given: dict[str, Any] = node._parameter_overrides  # rclpy has no public name for it
    known = {parameter.name: parameter for parameter in parameters}
    problems = _unknown(node, given, known, groups, source) if are_all else []
    values: dict[str, Any] = {name: {} for name in groups}
    for name, parameter in known.items():
        values[name] = parameter.default
        if name in given:
            try:
                values[name] = parameter.checked(given[name].value, source)
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(problems)
    for name, parameter in known.items():
        given[name] = Parameter(name, value=values[name])  # a whole number may stand for a number
        node.declare_parameter(name, parameter.default, parameter.descriptor())
    for name, told in sorted(given.items()):
        group, _, key = name.partition(".")
        if key and group in groups:
            node.declare_parameter(
                name, told.value, ParameterDescriptor(description=groups[group], read_only=True)
            )
            _put(values[group], key, told.value)
    if not node.describe_parameter(_USE_SIM_TIME).read_only:
        about = ParameterDescriptor(
            description=_SIM_TIME_ABOUT, read_only=True, type=Parameter.Type.BOOL.value
        )
        node.set_descriptor(_USE_SIM_TIME, about)
    return values


def text_argument(kind: Any) -> Callable[[str], str]:
    """Checks a text of the command line as the grid file's reader does; for argparse.

    Args:
        kind: Annotated text, such as ``UnitIdText``.
    """
    adapter: TypeAdapter[str] = TypeAdapter(kind)

    def checked(text: str) -> str:
        try:
            return adapter.validate_python(text)
        except ValidationError:
            wanted = expected(adapter.json_schema())
            raise argparse.ArgumentTypeError(f"{text!r}: must be {wanted}") from None

    return checked


def _unknown(
    node: Any,
    given: Mapping[str, Any],
    known: Mapping[str, NodeParameter],
    groups: Mapping[str, str],
    source: str,
) -> list[Problem]:
    problems, told = [], set()
    for name in given:
        first, _, rest = name.partition(".")
        if name in known or node.has_parameter(name) or name.startswith(_OF_RCLPY):
            continue
        if first in groups and rest:
            continue
        if first in groups:
            right = f"must be a group of parameters: {groups[first]}"
            problems.append(Problem(source, first, shorten(given[name].value), right))
            continue
        names = [*known, *groups, _USE_SIM_TIME]
        what = name if any("." in one for one in known) else first
        if what not in told:
            told.add(what)
            near = suggestion(what, names)
            near = near or f"; it knows {', '.join(names)}"
            problems.append(Problem(source, what, "", f"unknown parameter{near}"))
    return problems


def _put(group: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        inner = group.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        group = inner
    group[last] = value
