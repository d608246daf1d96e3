"""The value rule of a scenario file: what a unit must know of its house to reckon with energy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from annotated_types import Ge, Gt, Le

from apis_core.config.validation import Flag, Key, Number, Percent, Positive, Rule, choice

__all__ = ["VALUE_RULES", "Forecast", "ValueRule"]

_EMPTY_WITH_MAINS, _EMPTY_WITHOUT = 0.325, 0.05  # of the emulated houses

_PART = "value"
NonNegative = Annotated[Number, Ge(0)]
Ratio = Annotated[Number, Gt(0), Le(1)]


class Forecast(Enum):
    """From what a unit expects its sun and load."""

    NONE = "none"
    PERSISTENCE = "persistence"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRule:
    """How a unit reckons what a watt-hour is worth to it.

    Each field's annotation names its key in the scenario file, with the type, range and default
    that hold there; ``docs/trading.md`` says what each is for.
    """

    forecast: Annotated[
        Forecast, choice({f.value: f for f in Forecast}), Key("forecast", "persistence")
    ]
    has_mains: Annotated[Flag, Key(f"{_PART}.mains", True)]
    mains_point_per_wh: Annotated[Positive, Key(f"{_PART}.mainsPointPerWh", 12)]
    dark_point_per_wh: Annotated[Positive, Key(f"{_PART}.darkPointPerWh", 24)]
    # Where the battery no longer carries the load, and where it can take no more.
    empty_ratio: Annotated[Percent | None, Key(f"{_PART}.emptyRsoc", None)]
    full_ratio: Annotated[Percent, Key(f"{_PART}.fullRsoc", 98)]
    # What the house takes from the battery, and what the mains deliver for the same load.
    controls_w: Annotated[NonNegative, Key(f"{_PART}.controlsW", 22)]
    inverter_loss_w: Annotated[NonNegative, Key(f"{_PART}.inverterLossW", 129)]
    inverter_loss_ratio: Annotated[NonNegative, Key(f"{_PART}.inverterLossRatio", 0.14)]
    bypass_loss_w: Annotated[NonNegative, Key(f"{_PART}.bypassLossW", 67)]
    bypass_loss_ratio: Annotated[NonNegative, Key(f"{_PART}.bypassLossRatio", 0.06)]
    battery_efficiency_ratio: Annotated[Ratio, Key(f"{_PART}.batteryEfficiency", 0.98)]
    # What moving energy loses: constant + linear P + quadratic P^2 in a converter; the line.
    converter_loss_w: Annotated[NonNegative, Key(f"{_PART}.converterLossW", 30)]
    converter_loss_ratio: Annotated[NonNegative, Key(f"{_PART}.converterLossRatio", 0.01)]
    converter_loss_per_w: Annotated[NonNegative, Key(f"{_PART}.converterLossPerW", 8e-6)]
    line_loss_ratio: Annotated[NonNegative, Key(f"{_PART}.lineLossRatio", 0.005)]

    @property
    def carries_above_ratio(self) -> float:
        """The state of charge above which the battery carries the load, 0..1."""
        if self.empty_ratio is not None:
            return self.empty_ratio
        return _EMPTY_WITH_MAINS if self.has_mains else _EMPTY_WITHOUT


VALUE_RULES: tuple[Rule, ...] = (
    (
        f"{_PART}.emptyRsoc",
        lambda empty_ratio, full_ratio: empty_ratio is None or empty_ratio < full_ratio,
        f"must be below {_PART}.fullRsoc",
    ),
)
