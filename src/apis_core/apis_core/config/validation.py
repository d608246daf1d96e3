"""From data to values: the types of the configuration files, and how a file's fields are read.

The values are plain frozen dataclasses. A field that comes from a file says so in its annotation::

    deal_energy_min_wh: Annotated[Whole, Ge(1), Key("mediator.deal.amountMinWh")]

so that name, place in the file, type, range and default stand in one line, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, BeforeValidator, Field, Strict, TypeAdapter, ValidationError

from apis_core.config.error_messages import (
    NUMBER_LIMIT,
    WHOLE_LIMIT,
    expected,
    problems_from_pydantic,
    shorten,
    suggestion,
)
from apis_core.model.errors import Problem
from apis_core.model.units import SECOND_NS

__all__ = [
    "REQUIRED",
    "Flag",
    "Key",
    "Milliseconds",
    "Number",
    "Percent",
    "Positive",
    "Reading",
    "Rule",
    "UnitIdText",
    "Whole",
    "choice",
    "read_fields",
]

T = TypeVar("T")
Rule: TypeAlias = tuple[str, Callable[..., bool], str]

REQUIRED = object()
_ABSENT = object()
_HIDDEN = object()  # below something that is not an object: that is the problem, not the absence

# Strict: text is not a number, 1 is not true. A whole number is a number all the same.
Number = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=-NUMBER_LIMIT, le=NUMBER_LIMIT)]
Positive = Annotated[Number, Gt(0)]
Whole = Annotated[int, Strict(), Field(ge=-WHOLE_LIMIT, le=WHOLE_LIMIT)]
Flag = Annotated[bool, Strict()]
_YEAR_MS = 365 * 86_400_000  # the longest time that a file may ask for
Milliseconds = Annotated[
    Whole, Ge(1), Le(_YEAR_MS), AfterValidator(lambda ms: ms * SECOND_NS // 1000)
]  # to ns
Percent = Annotated[
    Number, Ge(0), Le(100), AfterValidator(lambda percent: percent / 100)
]  # to 0..1
# Also the ROS namespace of a unit, in lower case; hence no other letters, and no second spelling.
UnitIdText = Annotated[
    str,
    Field(
        pattern=r"^[A-Z](_?[A-Z0-9])*_?$",  # ROS takes no two _ in a row
        max_length=32,
        description="a unit id such as E001 (A-Z, 0-9, single _)",
    ),
]


def choice(names: Mapping[str, object]) -> BeforeValidator:
    """A validator that replaces a name of a file by the value that it stands for."""

    def chosen(value: object) -> object:
        if isinstance(value, str) and value in names:
            return names[value]
        raise ValueError(f"must be one of {', '.join(names)}")

    return BeforeValidator(chosen)


@dataclass(frozen=True, slots=True)
class Key:
    """Where in a file a field stands.

    Attributes:
        path: Dotted, in the file's own names.
        default: What an absent key means, as it would be written in the file.
    """

    path: str
    default: object = REQUIRED


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read of a file: values by field name, and everything that is wrong so far."""

    data: Mapping[str, Any]
    source: str
    values: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def broken(self, rules: Iterable[Rule]) -> Iterator[Problem]:
        """Problems of rules between fields.

        A rule is the key to blame, a predicate whose parameters are field names, and what would be
        right. A rule about a field that could not be read is left out: that is a problem already.
        """
        for key, holds, right in rules:
            names = signature(holds).parameters
            if self.values.keys() >= names.keys() and not holds(*(self.values[n] for n in names)):
                value = _look_up(self.data, key)
                yield Problem(self.source, key, "" if value is _ABSENT else shorten(value), right)


@cache
def _adapters(cls: type) -> Mapping[str, tuple[Key, TypeAdapter[Any]]]:
    hints = get_type_hints(cls, include_extras=True)
    return {
        name: (key, TypeAdapter(hint))
        for name, hint in hints.items()
        for key in getattr(hint, "__metadata__", ())
        if isinstance(key, Key)
    }


def read_fields(
    cls: type, data: Mapping[str, Any], source: str, *, unread: Iterable[str] = ()
) -> Reading:
    """Read every field of `cls` that has a :class:`Key`.

    Args:
        cls: A dataclass.
        data: The file's content. A key that is null counts as absent, as in the original.
        source: The file's name, as the user gave it.
        unread: Dotted keys that may stand in the file although no field reads them.
    """
    reading = Reading(data, source)
    fields = _adapters(cls)
    known = [*(key.path for key, _ in fields.values()), *unread]
    reading.problems.extend(_unknown_keys(data, source, known))
    for name, (key, adapter) in fields.items():
        value = _look_up(data, key.path)
        if value is _HIDDEN:
            continue
        if value is _ABSENT:
            value = key.default
        if value is REQUIRED:
            right = f"required: {expected(adapter.json_schema())}"
            reading.problems.append(Problem(source, key.path, "", right))
        elif value is None:
            reading.values[name] = None
        else:
            try:
                reading.values[name] = adapter.validate_python(value)
            except ValidationError as error:
                schema = adapter.json_schema()
                reading.problems.extend(
                    problems_from_pydantic(error, source, schema, prefix=(key.path,))
                )
    return reading


def _look_up(data: object, path: str) -> object:
    for part in path.split("."):
        if not isinstance(data, Mapping):
            return _HIDDEN
        data = data.get(part)
        if data is None:
            return _ABSENT
    return data


def _unknown_keys(data: Mapping[str, Any], source: str, known: list[str]) -> Iterator[Problem]:
    """Problems of keys that nobody knows, and of values that should have been objects."""
    branches = {path[:end] for path in known for end, letter in enumerate(path) if letter == "."}

    def walk(part: Mapping[str, Any], prefix: str) -> Iterator[Problem]:
        for key, value in part.items():
            path = prefix + key
            if path in branches:
                if isinstance(value, Mapping):
                    yield from walk(value, path + ".")
                elif value is not None:
                    yield Problem(source, path, shorten(value), "must be an object { ... }")
            elif path not in known:
                yield Problem(source, path, shorten(value), f"unknown key{_nearest(path)}")

    def _nearest(path: str) -> str:
        parent, _, leaf = path.rpartition(".")
        siblings = [p.rpartition(".") for p in (*known, *branches)]
        near = suggestion(leaf, [name for above, _, name in siblings if above == parent])
        elsewhere = [p for p in known if p.rpartition(".")[2] == leaf]
        return near or (f"; it belongs at {elsewhere[0]}" if elsewhere else "")

    return walk(data, "")
