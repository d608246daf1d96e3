"""One unit's hardware, from the original's hwConfig file: what battery and converter can bear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Gt, Le
from pydantic import ConfigDict, Field

from apis_core.config.jsonc import parse_object
from apis_core.config.validation import Key, Number, Positive, Rule, read_fields
from apis_core.model.errors import ConfigError, Problem

__all__ = ["Hardware", "Limits", "Range", "parse_hardware"]


@dataclass(frozen=True, slots=True)
class Range:
    """A closed range of a measured quantity, in the quantity's own unit."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    min: Number
    max: Number

    def __post_init__(self) -> None:
        if self.min >= self.max:
            raise ValueError("min must be less than max")

    def __contains__(self, value: float) -> bool:
        """Whether `value` is allowed; NaN, a reading that failed, is not."""
        return self.min <= value <= self.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a unit's meters may show, whatever it is doing; outside means that something is broken.

    Attributes:
        converter_temp_degc: [°C]
        grid_voltage_v: [V]
        battery_voltage_v: [V]
        grid_current_a: + = from the bus into the unit. [A]
        battery_current_a: + = charging. [A]
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    converter_temp_degc: Annotated[Range, Field(validation_alias="tmp")]
    grid_voltage_v: Annotated[Range, Field(validation_alias="vg")]
    battery_voltage_v: Annotated[Range, Field(validation_alias="vb")]
    grid_current_a: Annotated[Range, Field(validation_alias="ig")]
    battery_current_a: Annotated[Range, Field(validation_alias="ib")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Sizes and limits of one unit. Each field's annotation names its key in the file.

    Attributes:
        battery_capacity_wh: Nominal, > 0. [Wh]
        grid_current_capacity_a: What the converter can carry, > 0. [A]
        grid_current_allowance_a: Largest difference between ordered and measured current, > 0. [A]
        droop_ratio: Droop while the voltage reference is handed over, > 0 and <= 3.999.
        efficient_grid_voltage_ratio: Best grid over battery voltage, > 0; None = not known.
        limits: What the meters may show.
        warnings: What the file's author may want to look at.
    """

    battery_capacity_wh: Annotated[Positive, Key("batteryNominalCapacityWh")]
    grid_current_capacity_a: Annotated[Positive, Key("gridCurrentCapacityA")]
    grid_current_allowance_a: Annotated[Positive, Key("gridCurrentAllowanceA")]
    droop_ratio: Annotated[Number, Gt(0), Le(3.999), Key("droopRatio")]
    efficient_grid_voltage_ratio: Annotated[
        Positive | None, Key("efficientBatteryGridVoltageRatio", None)
    ]
    limits: Annotated[Limits, Key("safety.range.dcdc.meter")]
    warnings: tuple[Problem, ...] = field(default=(), compare=False)


_RULES: tuple[Rule, ...] = (
    (
        "safety.range.dcdc.meter.ig",
        lambda limits, grid_current_capacity_a: (
            grid_current_capacity_a in limits.grid_current_a
            and -grid_current_capacity_a in limits.grid_current_a
        ),
        "must allow gridCurrentCapacityA in both directions, or a working converter trips",
    ),
)


def parse_hardware(text: str, source: str) -> Hardware:
    """Read a hwConfig file.

    Args:
        text: Its content: JSON with comments, as the original has it.
        source: Its name, as the user gave it; stands in every problem.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    data, problems = parse_object(text, source)
    # The original reads the file again every so often; here it holds from start to stop.
    reading = read_fields(Hardware, data, source, unread=["refreshingPeriodMsec"])
    problems += reading.problems
    problems += reading.broken(_RULES)
    if problems:
        raise ConfigError(problems)
    return Hardware(**reading.values)
