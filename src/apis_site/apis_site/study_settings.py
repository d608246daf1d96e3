"""What a study makes of a grid: the section ``study`` of its file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from apis_core.config.validation import Number, Whole

__all__ = ["StudySettings", "Variants"]

Positive = Annotated[Number, Field(gt=0.0)]
NonNegative = Annotated[Number, Field(ge=0.0)]
Case = Literal["none", "original", "configured", "value"]
Bound = Literal["pool", "foresight"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variants(_Part):
    """Cases beside ``configured``: each value of each list makes one.

    Those that change the houses bring a case without exchange with them, to compare with.
    """

    deal_current_a: tuple[Positive, ...] = ()
    deal_energy_wh: tuple[Annotated[Whole, Field(gt=0)], ...] = ()
    battery_scale: tuple[Positive, ...] = ()
    solar_scale: tuple[NonNegative, ...] = ()
    load_scale: tuple[NonNegative, ...] = ()


class StudySettings(_Part):
    """How long a village is studied, in which cases, and at what prices."""

    days: Annotated[Number, Field(gt=0.0, le=3650.0)] = 365.0
    step_s: Annotated[Number, Field(ge=0.1, le=3600.0)] = 60.0  # sun and load are constant so long
    physics: Literal["full", "compat"] = "full"  # compat: the original emulator's constants
    cases: Annotated[tuple[Case, ...], Field(min_length=1)] = ("none", "original", "configured")
    bounds: tuple[Bound, ...] = ("pool", "foresight")
    variants: Variants = Variants()
    mains_point_per_wh: NonNegative = 12.0  # of a house that names no price of its own
    co2_kg_per_kwh: NonNegative = 0.45  # of the mains
