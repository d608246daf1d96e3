"""What a converter loses over the power at the bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from apis_site.grid import ConverterLoss

__all__ = ["COMPAT_HOUSE", "CompatLoss", "Loss", "PartLoadLoss"]


class Loss(Protocol):
    """What a converter loses."""

    @property
    def waiting_w(self) -> float:
        """While it is off. [W]"""
        ...

    def on_w(self, grid_w: float, *, is_reference: bool) -> float:
        """While it is on, at this power at the bus, + = into the unit. [W]"""
        ...


@dataclass(frozen=True, slots=True)
class PartLoadLoss:
    """The part-load law of the emulator."""

    waiting_w: float
    constant_w: float
    linear: float
    quadratic_per_w: float

    @staticmethod
    def of(loss: ConverterLoss) -> PartLoadLoss:
        """The law of a grid file."""
        return PartLoadLoss(loss.waiting_w, loss.constant_w, loss.linear, loss.quadratic_per_w)

    def on_w(self, grid_w: float, *, is_reference: bool) -> float:
        """While it is on. [W]"""
        power_w = abs(grid_w)
        return self.constant_w + (self.linear + self.quadratic_per_w * power_w) * power_w


@dataclass(frozen=True, slots=True)
class CompatLoss:
    """The constants of the original's emulator (Sony CSL, ``apis-emulator``, commit 25f11d1).

    A voltage reference loses what one that discharges loses, whatever its current does.
    """

    waiting_w: float = 4.5
    charge_w: float = 71.0
    discharge_w: float = 55.0

    def on_w(self, grid_w: float, *, is_reference: bool) -> float:
        """While it is on. [W]"""
        return self.charge_w if grid_w > 0.0 and not is_reference else self.discharge_w


# The original's battery is a number: no resistance, no limits but empty and full, no leak.
COMPAT_HOUSE: dict[str, Any] = {
    "resistance_ratio": 0.0,
    "extra_resistance_ohm": 0.0,
    "hysteresis_v": 0.0,
    "self_discharge_per_s": 0.0,
    "coulombic_efficiency": 1.0,
    "charge_c_rate": 1000.0,
    "discharge_c_rate": 1000.0,
    "charge_least_degc": -273.0,
}
