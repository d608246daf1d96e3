"""The expectations of a scenario file: what stands there, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import Field, TypeAdapter, model_validator

from apis_core.config.validation import Positive
from apis_core.model.types import NOBODY, DealState
from apis_simulator.scenario.events import CONVERTER_MODES, MODES, Category, Extent, Level
from apis_simulator.scenario.values import (
    Count,
    NotNegative,
    Part,
    Problems,
    Range,
    Seconds,
    UnitName,
    UnitNames,
    WholeRange,
    name_of,
)

__all__ = ["EXPECTATIONS", "REFUSED", "Expectation", "read_expectation"]

REFUSED = "REFUSED"  # of a deal that nobody took
_STATES = {state.name: state.name for state in DealState if state is not DealState.UNKNOWN}
_STATES[REFUSED] = REFUSED
State = Annotated[str, name_of(_STATES)]
ModeName = Annotated[
    str,
    name_of({n: m.name for n, m in MODES.items()} | {n: n for n in CONVERTER_MODES}),
]


class ToldFault(Part):
    """Which faults are meant: those of which all that is given here is true."""

    unit: UnitName | None = None
    category: Category | None = None
    extent: Extent | None = None
    level: Level | None = None
    code: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _says_what(self) -> ToldFault:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("must have code, category, extent, level or unit")
        return self


class ModeIs(Part):
    """The mode of a unit; without one, of all."""

    value: ModeName
    unit: UnitName = NOBODY


class Droop(Part):
    """The droop of a unit's converter."""

    unit: UnitName
    max: NotNegative


_SocRanges = Annotated[dict[UnitName, Range], Field(min_length=1)]
_Currents = Annotated[dict[UnitName, Positive], Field(min_length=1)]
_Times = {"from_s": Seconds, "to_s": Seconds}
_At = {"at_s": Seconds}


@dataclass(frozen=True)
class _Kind:
    """One kind of expectation: what stands behind its name, and what may stand beside it."""

    value: Any
    beside: Mapping[str, Any] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()  # of these at least one must stand there

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """Reads what stands behind its name."""
        return _adapter(self.value)


@cache
def _adapter(value: Any) -> TypeAdapter[Any]:
    return TypeAdapter(value)


_ENERGIES = ("moved_wh", "sent_wh", "received_wh", "true_sent_wh", "true_received_wh")
_DEAL = {
    "state": State,
    **dict.fromkeys(_ENERGIES, Range),
    "ended_within_s": Seconds,
    "has_reason": bool,
}
EXPECTATIONS: Mapping[str, _Kind] = {
    "off": _Kind(UnitNames, {"after_s": Seconds, "within_s": Seconds, "until_s": Seconds}),
    "max_stiff_references": _Kind(Count, _Times),
    "bus_energised": _Kind(bool, _Times),
    "energised_count": _Kind(WholeRange, _Times),
    "bus_v": _Kind(Range, _Times),
    "max_current_a": _Kind(_Currents, _Times | {"for_longer_than_s": Seconds}),
    "deal": _Kind(Annotated[int, Ge(1)], _DEAL | {"after_s": Seconds} | _At, tuple(_DEAL)),
    "fault": _Kind(ToldFault, {"after_s": Seconds, "within_s": Seconds, "never": bool}),
    "mode": _Kind(ModeIs, _At),
    "soc": _Kind(_SocRanges, _At | _Times),
    "grid_masters": _Kind(WholeRange, _Times),
    "slots": _Kind(WholeRange, _At),
    "droop": _Kind(Droop, _At),
    "deals_completed": _Kind(WholeRange, _Times),
}


@dataclass(frozen=True)
class Expectation:
    """One expectation of a story.

    Attributes:
        index: Its place in the file, from 0.
        kind: Its name.
        value: What stands behind the name.
        beside: What stands beside it; times are seconds of the story.
        text: As the file has it, in one line.
    """

    index: int
    kind: str
    value: Any
    beside: Mapping[str, Any]
    text: str

    def seconds(self, name: str, default: float) -> float:
        """A time that stands beside it. [s]"""
        value = self.beside.get(name)
        return default if value is None else float(value)

    @property
    def last_s(self) -> float:
        """Until when the story must run for it to be seen. [s]"""
        names = ("from_s", "to_s", "at_s", "after_s", "until_s")
        last_s = max([float(self.beside[name]) for name in names if name in self.beside] or [0.0])
        within_s = self.seconds("after_s", 0.0) + self.seconds("within_s", 0.0)
        if self.kind == "off":
            within_s += SETTLED_S * ("until_s" not in self.beside)
        return max(
            last_s, within_s, self.seconds("after_s", 0.0) + self.seconds("ended_within_s", 0.0)
        )


SETTLED_S = 1.0  # for so long a converter that is off must stay so, if nothing else is said


def read_expectation(
    problems: Problems, index: int, data: object, deals: int
) -> Expectation | None:
    """One entry of ``expect``; None = it is wrong, and that has been added."""
    key = f"expect[{index}]"
    if not isinstance(data, Mapping):
        problems.add(key, data, "must be an object such as {deal: 1, state: COMPLETED}")
        return None
    # YAML 1.1 reads the word off, without quotes, as false
    data = {("off" if name is False else name): value for name, value in data.items()}
    before = len(problems.found)
    every = {name for kind in EXPECTATIONS.values() for name in kind.beside}
    kinds = [name for name in data if name in EXPECTATIONS]
    if len(kinds) != 1:
        for name in data:
            if name not in EXPECTATIONS and name not in every:
                problems.unknown(key, str(name), data[name], EXPECTATIONS)
        if kinds or len(problems.found) == before:
            found = ", ".join(kinds) or None
            problems.add(key, found, f"must name exactly one of {', '.join(EXPECTATIONS)}")
        return None
    name, kind = kinds[0], EXPECTATIONS[kinds[0]]
    value = problems.read(kind.adapter, f"{key}.{name}", data[name])
    beside = {}
    for other in data:
        if other == name:
            continue
        if other not in kind.beside:
            problems.unknown(key, str(other), data[other], [name, *kind.beside])
        elif data[other] is not None:
            beside[other] = problems.read(
                _adapter(kind.beside[other]), f"{key}.{other}", data[other]
            )
    if kind.one_of and not any(other in beside for other in kind.one_of):
        problems.add(key, None, f"must say what is true: one of {', '.join(kind.one_of)}")
    if name == "deal" and isinstance(value, int) and value > deals:
        right = f"there are {deals} deals" if deals else "the file has no deals"
        problems.add(f"{key}.deal", value, right)
    _check_times(problems, key, beside)
    if len(problems.found) > before:
        return None
    return Expectation(index, name, value, beside, text_of(data))


def _check_times(problems: Problems, key: str, beside: Mapping[str, Any]) -> None:
    from_s, to_s = beside.get("from_s"), beside.get("to_s")
    if from_s is not None and to_s is not None and to_s < from_s:
        problems.add(f"{key}.to_s", to_s, f"must not be less than from_s, {from_s:g}")
    until_s = beside.get("until_s")
    least_s = (beside.get("after_s") or 0.0) + (beside.get("within_s") or 0.0)
    if until_s is not None and until_s < least_s:
        problems.add(
            f"{key}.until_s", until_s, f"must not be before after_s + within_s, {least_s:g}"
        )


def text_of(value: object) -> str:
    """A value as YAML has it in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_inner(item)}" for name, item in value.items())
    return _inner(value)


def _inner(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + text_of(value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_inner(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
