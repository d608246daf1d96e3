"""Numbers to bytes and back, as a register table says; one codec for every device.

A table is YAML (``registers/*.yaml``). It names the *fields* that a device knows, each with its
type on the wire, its scale, unit and limits, and groups them into *blocks* that are read or
written together::

    fields:
      dvg: {type: u16, q: 14, rating: 380, unit: V, min: 260, max: 390, about: grid target voltage}
      rsoc: {type: u16, scale: 0.1, unit: percent, min: 0, max: 100, about: state of charge}
    blocks:
      4-4: {code: 0x1A, request: [dvg, drg], reply: [dvg, drg], about: set the grid side}

A scaled value is ``raw * rating / 2**q`` (Q format), or ``raw * scale``, plus ``offset``. All
arithmetic is exact: 0.1 is a tenth here, not the nearest binary number. Values are cut toward
zero, as the devices do, and limits are compared in counts, cut the same way; else a device's own
limit, read back one count low, would be refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from importlib import resources
from math import trunc
from typing import Any, Literal, TypeAlias, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from apis_core.config.error_messages import problems_from_pydantic
from apis_core.model.errors import ConfigError, Problem
from apis_driver.errors import ImplausibleReply, OutOfRange, WrongLength
from apis_site.files import read_text

__all__ = [
    "Block",
    "Exact",
    "FieldSpec",
    "RegisterTable",
    "exact",
    "is_table_file",
    "load_table",
    "parse_table",
]

Exact: TypeAlias = int | str | Decimal | Fraction | float
_SIZES = {"u8": 1, "s8": 1, "u16": 2, "s16": 2, "u32": 4, "s32": 4}
_EXACT = Context(prec=200)  # a count over 2**q always ends; this is far more than it needs


def exact(value: float) -> Decimal:
    """The decimal number that a float is written as: 52.08, not the nearest binary number."""
    return Decimal(repr(value))


class FieldSpec(BaseModel):
    """One number of a device.

    Attributes:
        type: On the wire: signed or not, and bits.
        q, rating: Of the Q format; without them the number is plain.
        scale: The value of one count, instead of Q format.
        offset: The value of the count 0.
        min, max: Of the value; what is not within is refused, and not believed when read.
        codes: Names of the values of an enumeration. Reading others is possible, writing not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: Literal["u8", "s8", "u16", "s16", "u32", "s32"]
    q: int | None = Field(default=None, ge=0, le=31)
    rating: Decimal | None = Field(default=None, gt=0)
    scale: Decimal | None = Field(default=None, gt=0, le=1_000_000)
    offset: Decimal | None = Field(default=None, ge=-1_000_000, le=1_000_000)
    unit: str = ""
    min: Decimal | None = None
    max: Decimal | None = None
    codes: dict[int, str] | None = None
    about: str = ""

    @model_validator(mode="after")
    def _makes_sense(self) -> FieldSpec:
        if (self.q is None) != (self.rating is None):
            raise ValueError("q and rating must stand together")
        if self.q is not None and self.scale is not None:
            raise ValueError("must have q and rating, or scale, not both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not exceed max")
        return self


@dataclass(frozen=True, slots=True)
class Number:
    """A field with everything computed that encoding and decoding need."""

    name: str
    spec: FieldSpec
    size: int
    is_signed: bool
    scale: Fraction  # value of one count
    offset: Fraction  # value of the count 0
    least: int  # smallest and largest raw number that are allowed, and that fit
    most: int
    fits_least: int
    fits_most: int

    @classmethod
    def of(cls, name: str, spec: FieldSpec) -> Number:
        size, is_signed = _SIZES[spec.type], spec.type[0] == "s"
        fits_least = -(1 << (8 * size - 1)) if is_signed else 0
        fits_most = (1 << (8 * size - is_signed)) - 1
        scale = Fraction(spec.scale) if spec.scale is not None else Fraction(1)
        if spec.q is not None and spec.rating is not None:
            scale = Fraction(spec.rating) / (1 << spec.q)
        offset = Fraction(spec.offset or 0)
        least = fits_least if spec.min is None else trunc((Fraction(spec.min) - offset) / scale)
        most = fits_most if spec.max is None else trunc((Fraction(spec.max) - offset) / scale)
        return cls(
            name,
            spec,
            size,
            is_signed,
            scale,
            offset,
            max(least, fits_least),
            min(most, fits_most),
            fits_least,
            fits_most,
        )

    @property
    def is_scaled(self) -> bool:
        spec = self.spec
        return spec.q is not None or spec.scale is not None or spec.offset is not None

    def raw_of(self, value: Exact) -> int:
        """Return the counts that stand for a value.

        Raises:
            OutOfRange: It is no number, or not within the limits of the field.
        """
        try:
            if isinstance(value, bool):
                raise ValueError
            number = Fraction(Decimal(value.strip()) if isinstance(value, str) else value)
        except (ValueError, ArithmeticError, TypeError):
            raise OutOfRange(f"{self.name} is {value!r}, it must be a number") from None
        if not self.is_scaled and number.denominator != 1:
            raise OutOfRange(f"{self.name} is {value}, it must be a whole number")
        raw = trunc((number - self.offset) / self.scale)
        if not self.least <= raw <= self.most:
            raise OutOfRange(f"{self.name} is {value}, it must be {self.limits}")
        if self.spec.codes is not None and raw not in self.spec.codes:
            names = ", ".join(f"{code:#x} ({name})" for code, name in self.spec.codes.items())
            raise OutOfRange(f"{self.name} is {raw:#x}, it must be one of {names}")
        return raw

    def is_plausible(self, raw: int) -> bool:
        """Whether a device can have this."""
        return self.least <= raw <= self.most

    def is_at_an_end(self, raw: int) -> bool:
        """Whether this is what many devices say for a value that they do not measure."""
        return raw == self.fits_most or (self.is_signed and raw == self.fits_least)

    def exact_of(self, raw: int) -> Decimal | int:
        """Value of counts, exact; a plain number stays a whole one."""
        if not self.is_scaled:
            return raw
        value = raw * self.scale + self.offset
        return _EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))

    def value_of(self, raw: int) -> float:
        """Value of counts, as a float."""
        return float(raw * self.scale + self.offset)

    @property
    def limits(self) -> str:
        """What is allowed, for people."""
        spec = self.spec
        low = self.exact_of(self.fits_least) if spec.min is None else spec.min
        high = self.exact_of(self.fits_most) if spec.max is None else spec.max
        return (
            f"from {low:f} to {high:f} {spec.unit}".rstrip()
            if self.is_scaled
            else (f"from {low} to {high} {spec.unit}".rstrip())
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Fields that stand one behind the other, in their order on the wire."""

    name: str
    fields: tuple[Number, ...]
    byte_order: Literal["little", "big"]

    @property
    def size(self) -> int:
        """The number of bytes of all fields together."""
        return sum(field.size for field in self.fields)

    def raw_of(self, values: Mapping[str, Exact]) -> dict[str, int]:
        """Counts of values by field.

        Raises:
            OutOfRange: A field is missing, unknown, no number, or not within its limits.
        """
        names = [field.name for field in self.fields]
        if set(values) != set(names):
            has, needs = ", ".join(values) or "none", ", ".join(names) or "none"
            raise OutOfRange(f"{self.name} has the fields {has}, it must have {needs}")
        return {field.name: field.raw_of(values[field.name]) for field in self.fields}

    def pack(self, raw: Mapping[str, int]) -> bytes:
        """Bytes of counts, which must fit; limits are not looked at."""
        return b"".join(
            raw[field.name].to_bytes(field.size, self.byte_order, signed=field.is_signed)
            for field in self.fields
        )

    def unpack(self, data: bytes) -> dict[str, int]:
        """Return the counts of each field.

        Raises:
            WrongLength: The bytes are too few or too many.
        """
        if len(data) != self.size:
            raise WrongLength(f"{self.name} has {len(data)} bytes, it must have {self.size}")
        raw, at = {}, 0
        for field in self.fields:
            part = data[at : at + field.size]
            raw[field.name] = int.from_bytes(part, self.byte_order, signed=field.is_signed)
            at += field.size
        return raw

    def encode(self, values: Mapping[str, Exact]) -> bytes:
        """Return the bytes that stand for the values.

        Raises:
            OutOfRange: See :meth:`raw_of`. Nothing has been encoded.
        """
        return self.pack(self.raw_of(values))

    def check(self, raw: Mapping[str, int]) -> None:
        """See that a device can have these counts.

        Raises:
            ImplausibleReply: It cannot; the line or the device lies.
        """
        for field in self.fields:
            if not field.is_plausible(raw[field.name]):
                value = f"{field.exact_of(raw[field.name])} {field.spec.unit}".rstrip()
                raise ImplausibleReply(
                    f"{self.name}: {field.name} is {value}, it must be {field.limits}"
                )

    def values(self, raw: Mapping[str, int]) -> dict[str, float]:
        """Return the values of counts, by field."""
        return {field.name: field.value_of(raw[field.name]) for field in self.fields}

    def exact_values(self, raw: Mapping[str, int]) -> dict[str, Decimal | int]:
        """Return the values of counts without rounding, by field."""
        return {field.name: field.exact_of(raw[field.name]) for field in self.fields}


@dataclass(frozen=True, slots=True)
class Command:
    """What may be asked of a device: a code or an address, what goes out, what comes back."""

    name: str
    code: int
    request: Block
    reply: Block
    about: str


@dataclass(frozen=True, slots=True)
class RegisterTable:
    """Everything that a device can be asked."""

    name: str
    commands: Mapping[str, Command]

    def __getitem__(self, name: str) -> Command:
        return self.commands[name]


class _CommandSpec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    code: int = Field(ge=0)
    request: tuple[str, ...] = ()
    reply: tuple[str, ...] = ()
    about: str = ""


class _TableSpec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    byte_order: Literal["little", "big"]
    fields: dict[str, FieldSpec]
    blocks: dict[str, _CommandSpec]

    @model_validator(mode="after")
    def _fields_are_there(self) -> _TableSpec:
        for name, block in self.blocks.items():
            for field in (*block.request, *block.reply):
                if field not in self.fields:
                    raise ValueError(f"block {name} names the field {field}, which is not there")
        return self


class _TextLoader(yaml.SafeLoader):
    """Leaves numbers with a fraction as text, so that 52.08 stays 52.08; takes no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for at, key in enumerate(keys):
            if key in keys[:at]:
                mark = node.value[at][0].start_mark
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} stands twice; keep one", problem_mark=mark
                )
        return super().construct_mapping(node, deep)


_TextLoader.add_constructor(
    "tag:yaml.org,2002:float",
    lambda loader, node: loader.construct_scalar(cast(yaml.ScalarNode, node)),
)


def parse_table(text: str, source: str) -> RegisterTable:
    """Read a register table.

    Args:
        text: YAML.
        source: The file's name; stands in every problem.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    try:
        data: Any = yaml.load(text, _TextLoader)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(
            [Problem(source, where, "", f"must be YAML: {error.problem}")]
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ConfigError([Problem(source, "", "", f"must be YAML: {why}")]) from error
    except RecursionError as error:
        raise ConfigError([Problem(source, "", "", "is nested too deeply")]) from error
    try:
        spec = _TableSpec.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            problems_from_pydantic(error, source, _TableSpec.model_json_schema())
        ) from error
    numbers = {name: Number.of(name, field) for name, field in spec.fields.items()}

    def block(name: str, fields: Iterable[str]) -> Block:
        return Block(name, tuple(numbers[field] for field in fields), spec.byte_order)

    return RegisterTable(
        spec.name,
        {
            name: Command(
                name, part.code, block(name, part.request), block(name, part.reply), part.about
            )
            for name, part in spec.blocks.items()
        },
    )


def is_table_file(name: str) -> bool:
    """Whether it is the path of a table, not the name of one of ours."""
    return "/" in name or name.endswith((".yaml", ".yml"))


def load_table(name: str) -> RegisterTable:
    """A table: one of ours by its name (``eza2500``), or a file of yours by its path.

    Raises:
        ConfigError: It cannot be read, or is wrong.
    """
    try:
        if is_table_file(name):
            return parse_table(read_text(name), name)
        own = resources.files("apis_driver.registers") / f"{name}.yaml"
        return parse_table(own.read_text(encoding="utf-8"), f"registers/{name}.yaml")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(name, "", "", f"cannot be read: {why}")]) from error
