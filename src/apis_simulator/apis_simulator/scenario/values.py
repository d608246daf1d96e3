"""What stands in a scenario file: the types of its values, and how they are checked.

Everything that is wrong becomes a problem with key, value and what would be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from apis_core.config.error_messages import (
    expected,
    problems_from_pydantic,
    shorten,
    suggestion,
)
from apis_core.config.validation import Number, Whole
from apis_core.model.errors import Problem

__all__ = [
    "NotNegative",
    "Part",
    "Problems",
    "Range",
    "Ratio",
    "Seconds",
    "UnitName",
    "UnitNames",
    "WholeRange",
    "name_of",
]

T = TypeVar("T")
NotNegative = Annotated[Number, Ge(0)]
Ratio = Annotated[Number, Ge(0), Le(1)]
LONGEST_S = 1_000_000.0
Seconds = Annotated[Number, Ge(0), Le(LONGEST_S)]
Length = Annotated[Number, Gt(0), Le(LONGEST_S)]


class Part(BaseModel):
    """One part of a file; it has no other keys than these."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_unit(unit_id: str, info: ValidationInfo) -> str:
    known = (info.context or {}).get("units")
    if known and unit_id not in known:
        near = suggestion(unit_id, known)
        raise ValueError(f"must be one of {', '.join(known)}{near}")
    return unit_id


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


UnitName = Annotated[str, Field(description="a unit id such as E001"), AfterValidator(_known_unit)]
UnitNames = Annotated[tuple[UnitName, ...], BeforeValidator(_one_or_many), Field(min_length=1)]


def name_of(names: Mapping[str, T]) -> BeforeValidator:
    """A validator that takes a name in any case, with blanks or underscores, and gives its value.

    A name that YAML reads as something else (``OFF``) is no name.
    """
    known = {_plain(name): value for name, value in names.items()}

    def value_of(text: object) -> object:
        if isinstance(text, str) and _plain(text) in known:
            return known[_plain(text)]
        near = suggestion(str(text), names)
        raise ValueError(f"must be one of {', '.join(names)}{near}")

    return BeforeValidator(value_of)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "").replace("-", "")


class Range(Part):
    """A range; a side that is left out is open."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("must have min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not be greater than max")
        return self

    def __contains__(self, value: float) -> bool:
        """Whether a value lies in it."""
        is_low = self.min is not None and value < self.min
        return not is_low and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        if self.min is None:
            return f"at most {self.max:g}"
        if self.max is None:
            return f"at least {self.min:g}"
        return f"{self.min:g} to {self.max:g}"


def _number_is_range(value: object) -> object:
    """One whole number stands for itself and nothing else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"min": value, "max": value}
    if not isinstance(value, Mapping | Range):
        raise ValueError("must be a whole number, or a range such as {min: 0, max: 2}")
    return value


WholeRange = Annotated[Range, BeforeValidator(_number_is_range)]
Count = Annotated[Whole, Ge(0)]


@dataclass
class Problems:
    """Collects what is wrong in one file.

    Attributes:
        source: The file, as the user named it.
        units: Ids of its units; empty = not known (that is a problem already).
        found: Everything so far.
    """

    source: str
    units: tuple[str, ...] = ()
    found: list[Problem] = field(default_factory=list)

    def add(self, key: str, value: object, right: str) -> None:
        """One more; a value of None stands for nothing."""
        text = "" if value is None else shorten(value)
        self.found.append(Problem(self.source, key, text, right))

    def read(self, adapter: TypeAdapter[T], key: str, value: object) -> T | None:
        """A value of a type; None = it is wrong, and that has been added."""
        try:
            return adapter.validate_python(value, context={"units": self.units})
        except ValidationError as error:
            schema = _schema(adapter)
            self.found += [  # pydantic says [key] behind a key that is wrong itself
                replace(each, key=each.key.removesuffix(".[key]"))
                for each in problems_from_pydantic(error, self.source, schema, prefix=(key,))
            ]
            return None

    def required(self, adapter: TypeAdapter[Any], key: str) -> None:
        """Something that must stand there does not."""
        self.add(key, None, f"required: {expected(_schema(adapter))}")

    def unknown(self, key: str, name: str, value: object, known: Iterable[str]) -> None:
        """A key that nobody knows."""
        path = f"{key}.{name}" if key else name
        known = list(known)
        near = suggestion(name, known) or f"; known are {', '.join(known)}"
        self.add(path, value, f"unknown key{near}")


def _schema(adapter: TypeAdapter[Any]) -> Mapping[str, Any]:
    return adapter.json_schema()
