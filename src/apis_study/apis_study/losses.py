"""What a converter loses over the power at the bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from apis_core.model.types import ConverterMode
from apis_emulator.physics.converter import Converter
from apis_site.grid import Bus, ConverterLoss

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


class PartLoadLoss:
    """What the emulator's converter loses.

    Args:
        loss: Its part-load law, as a grid file has it.
        bus: Its bus.
    """

    def __init__(self, loss: ConverterLoss, bus: Bus) -> None:
        self.waiting_w = loss.waiting_w
        self._converter = Converter(loss=loss, bus=bus)
        # it only has to be on: neither the mode nor the voltage of the bus matters
        self._converter.start(int(ConverterMode.CHARGE), bus_v=0.0, energy_limit_wh=None)

    def on_w(self, grid_w: float, *, is_reference: bool) -> float:
        """While it is on. [W]"""
        return self._converter.loss_w(grid_w)


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
