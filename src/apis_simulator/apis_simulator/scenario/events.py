"""The events of a scenario file: what stands there, and what happens in the world then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import Gt
from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from apis_core.config.validation import Number, Positive
from apis_core.model.types import (
    NOBODY,
    ConverterMode,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
)
from apis_simulator.device_faults import QUANTITIES
from apis_simulator.scenario.values import (
    Length,
    NotNegative,
    Part,
    Problems,
    Ratio,
    Seconds,
    UnitName,
    UnitNames,
    name_of,
)

__all__ = ["EVENTS", "MODES", "Event", "read_event"]

# as the product says it, and as the original's policy does
MODES = {
    "RUN": OperationMode.RUN,
    "SOFT_STOP": OperationMode.SOFT_STOP,
    "FORCE_STOP": OperationMode.FORCE_STOP,
    "MANUAL": OperationMode.MANUAL,
    "UNSET": OperationMode.UNSET,
    "autonomous": OperationMode.RUN,
    "heteronomous": OperationMode.SOFT_STOP,
    "stop": OperationMode.FORCE_STOP,
}
CONVERTER_MODES = {mode.name: mode for mode in ConverterMode if mode is not ConverterMode.UNKNOWN}
Mode = Annotated[OperationMode, name_of(MODES)]
Category = Annotated[FaultCategory, name_of({each.name: each for each in FaultCategory})]
Extent = Annotated[FaultExtent, name_of({each.name: each for each in FaultExtent})]
Level = Annotated[FaultLevel, name_of({each.name: each for each in FaultLevel})]


def _number_or_nan(value: object) -> object:
    """``nan`` and ``.nan`` stand for a sensor that gives nothing."""
    if (isinstance(value, str) and value.lower() == "nan") or value != value:
        return math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError("must be a number or nan")


NumberOrNan = Annotated[float, BeforeValidator(_number_or_nan)]
Groups = Annotated[
    tuple[Annotated[tuple[UnitName, ...], Field(min_length=1)], ...], Field(min_length=2)
]
TwoUnits = Annotated[tuple[UnitName, UnitName], Field()]
Settings = dict[str, Any]


def _exactly_one(part: Part, *names: str) -> None:
    given = [name for name in names if getattr(part, name) is not None]
    if len(given) != 1:
        raise ValueError(f"must have exactly one of {', '.join(names)}")


class ConverterDoes(Part):
    """A converter changes by itself."""

    unit: UnitName
    mode: Annotated[ConverterMode, name_of(CONVERTER_MODES)]
    current_a: NotNegative | None = None
    voltage_v: Positive | None = None


class Slow(Part):
    """A driver takes longer over each order."""

    unit: UnitName
    delay_s: Positive


class Leak(Part):
    """Current leaves the bus."""

    at: UnitName
    current_a: Positive


class EarthFault(Part):
    """The bus is joined with earth."""

    at: UnitName
    ohm: Positive


class Meter(Part):
    """Energy counters that lie."""

    unit: UnitName
    gain: NotNegative | None = None
    jump_wh: Number | None = None
    frozen: Literal[True] | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Meter:
        _exactly_one(self, "gain", "jump_wh", "frozen")
        return self


class Sensor(Part):
    """A sensor that is wrong."""

    unit: UnitName
    quantity: Annotated[str, name_of({name: name for name in QUANTITIES})]
    offset: Number | None = None
    stuck: Literal[True] | None = None
    value: NumberOrNan | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Sensor:
        _exactly_one(self, "offset", "stuck", "value")
        return self


class Battery(Part):
    """What a battery does."""

    unit: UnitName
    silent: Literal[True] | None = None
    permit: bool | None = None
    soc: Ratio | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Battery:
        _exactly_one(self, "silent", "permit", "soc")
        return self


class ToldFault(Part):
    """An operator's tool tells all of a fault."""

    unit: UnitName = NOBODY
    category: Category = FaultCategory.USER
    extent: Extent = FaultExtent.LOCAL
    level: Level = FaultLevel.ERROR
    code: Annotated[str, Field(min_length=1)] = "made_by_operator"


class ModeOrder(Part):
    """An operator's order; without a unit, to all."""

    value: Mode
    unit: UnitName = NOBODY


class Clock(Part):
    """A unit's clock jumps."""

    unit: UnitName
    jump_s: Number


class File(Part):
    """A file changes, of one unit or of all."""

    unit: UnitName = NOBODY
    set: Annotated[Settings, Field(min_length=1)]


class SecondSource(Part):
    """Something foreign holds the bus."""

    at: UnitName
    voltage_v: Positive
    ohm: Positive


class _Kind:
    """One kind of event: what stands behind its name, and whether it can end."""

    def __init__(self, value: Any, *, can_end: bool = False, restarts: bool = False) -> None:
        self.value = value
        self.can_end = can_end
        self.restarts = restarts

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """Reads what stands behind its name."""
        return _adapter(self.value)


@cache
def _adapter(value: Any) -> TypeAdapter[Any]:
    return TypeAdapter(value)


EVENTS: Mapping[str, _Kind] = {
    "cut_off": _Kind(UnitNames, can_end=True),
    "split": _Kind(Groups, can_end=True),
    "deaf": _Kind(UnitNames, can_end=True),
    "mute": _Kind(UnitNames, can_end=True),
    "line_break": _Kind(TwoUnits, can_end=True),
    "kill": _Kind(UnitNames, can_end=True, restarts=True),
    "kill_grid_master": _Kind(Literal[True], can_end=True, restarts=True),
    "kill_driver": _Kind(UnitNames, can_end=True, restarts=True),
    "pause": _Kind(UnitNames, can_end=True),
    "lose_journal": _Kind(UnitNames, restarts=True),
    "trip": _Kind(UnitNames),
    "power_cycle": _Kind(UnitNames),
    "converter_does": _Kind(ConverterDoes),
    "ignores_orders": _Kind(UnitNames, can_end=True),
    "driver_slow": _Kind(Slow, can_end=True),
    "driver_silent": _Kind(UnitNames, can_end=True),
    "leak": _Kind(Leak, can_end=True),
    "earth_fault": _Kind(EarthFault, can_end=True),
    "meter": _Kind(Meter, can_end=True),
    "sensor": _Kind(Sensor, can_end=True),
    "battery": _Kind(Battery, can_end=True),
    "fault": _Kind(ToldFault),
    "mode": _Kind(ModeOrder),
    "clock": _Kind(Clock),
    "policy_file": _Kind(File),
    "hardware_file": _Kind(File),
    "second_source": _Kind(SecondSource, can_end=True),
}
_TIMES = ("at_s", "for_s", "until_s", "restart_after_s")
_seconds: TypeAdapter[float] = TypeAdapter(Seconds)
_length: TypeAdapter[float] = TypeAdapter(Annotated[Length, Gt(0)])


@dataclass(frozen=True)
class Event:
    """One event of a story.

    Attributes:
        index: Its place in the file, from 0.
        at_s: When. [s of the story]
        kind: Its name.
        value: What stands behind the name.
        ends_s: When it ends, or when the process is back; None = never.
    """

    index: int
    at_s: float
    kind: str
    value: Any
    ends_s: float | None = None


def read_event(problems: Problems, index: int, data: object) -> Event | None:
    """One entry of ``events``; None = it is wrong, and that has been added."""
    key = f"events[{index}]"
    if not isinstance(data, Mapping):
        problems.add(key, data, "must be an object such as {at_s: 60, kill: E001}")
        return None
    before = len(problems.found)
    kinds = [name for name in data if name in EVENTS]
    for name in data:
        if name not in EVENTS and name not in _TIMES:
            problems.unknown(key, str(name), data[name], [*EVENTS, *_TIMES])
    if len(kinds) != 1:
        if kinds or len(problems.found) == before:
            found = ", ".join(kinds) or None
            problems.add(key, found, f"must name exactly one of {', '.join(EVENTS)}")
        return None
    kind = kinds[0]
    value = problems.read(EVENTS[kind].adapter, f"{key}.{kind}", data[kind])
    at_s = _at(problems, key, data)
    ends_s = _ends(problems, key, data, EVENTS[kind], at_s)
    if len(problems.found) > before:
        return None
    return Event(index, at_s, kind, value, ends_s)


def _at(problems: Problems, key: str, data: Mapping[str, Any]) -> float:
    if data.get("at_s") is None:
        problems.required(_seconds, f"{key}.at_s")
        return 0.0
    return problems.read(_seconds, f"{key}.at_s", data["at_s"]) or 0.0


def _ends(
    problems: Problems, key: str, data: Mapping[str, Any], kind: _Kind, at_s: float
) -> float | None:
    given = [name for name in _TIMES[1:] if data.get(name) is not None]
    allowed = ["for_s", "until_s"] * kind.can_end + ["restart_after_s"] * kind.restarts
    for name in given:
        if name not in allowed:
            right = f"does not belong here: {', '.join(allowed) or 'this event does not end'}"
            problems.add(f"{key}.{name}", data[name], right)
    if not given or not set(given) <= set(allowed):
        return None
    if len(given) > 1:
        problems.add(key, ", ".join(given), "must have at most one of these")
        return None
    name = given[0]
    value_s = problems.read(_seconds, f"{key}.{name}", data[name])
    if value_s is None:
        return None
    ends_s = value_s if name == "until_s" else at_s + value_s
    if ends_s <= at_s and name != "restart_after_s":
        right = f"must be greater than {at_s if name == 'until_s' else 0:g}"
        problems.add(f"{key}.{name}", value_s, right)
    return ends_s
