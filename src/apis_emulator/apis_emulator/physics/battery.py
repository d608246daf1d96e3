"""The battery of a house: an energy store that is never rounded, and a voltage that follows from
it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

__all__ = ["NOMINAL_VOLTAGE_V", "Battery"]

NOMINAL_VOLTAGE_V = 51.2  # [V] 16 LiFePO4 cells in series at 3.2 V

# Open-circuit voltage of 16 LiFePO4 cells in series over the state of charge. Source: cell model
# SonyLFP of SimSES (TU Munich), after the product specification of the US26650FTC1 and M. Naumann,
# PhD thesis, TU Munich 2018.
_SOC_RATIO = (
    *(0.0, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40),
    *(0.50, 0.60, 0.70, 0.75, 0.80, 0.90, 0.95, 0.98, 1.0),
)
_OCV_V = (
    *(36.58, 46.32, 49.04, 51.15, 51.39, 51.75, 52.07, 52.32, 52.52, 52.67),
    *(52.79, 52.86, 52.97, 53.10, 53.35, 53.48, 53.52, 53.58, 56.49),
)


@dataclass(slots=True)
class Battery:
    """A lossless store (the losses of the house stand in :mod:`apis_emulator.physics.house`).

    Attributes:
        capacity_wh: What it holds when full, > 0. [Wh]
        stored_wh: What it holds now, 0..capacity_wh. [Wh]
    """

    capacity_wh: float
    stored_wh: float

    @property
    def soc_ratio(self) -> float:
        """State of charge, 0..1."""
        return self.stored_wh / self.capacity_wh

    @property
    def voltage_v(self) -> float:
        """Open-circuit voltage, without resistance. [V]"""
        soc_ratio = self.soc_ratio
        upper = min(bisect_right(_SOC_RATIO, soc_ratio), len(_SOC_RATIO) - 1)
        low, high = _SOC_RATIO[upper - 1], _SOC_RATIO[upper]
        share = (soc_ratio - low) / (high - low)
        return _OCV_V[upper - 1] + share * (_OCV_V[upper] - _OCV_V[upper - 1])

    def room_w(self, dt_s: float) -> float:
        """Power that fills it in this time. [W, >= 0]"""
        return (self.capacity_wh - self.stored_wh) * 3600.0 / dt_s

    def available_w(self, dt_s: float) -> float:
        """Power that empties it in this time. [W, >= 0]"""
        return self.stored_wh * 3600.0 / dt_s

    def put(self, power_w: float, dt_s: float) -> None:
        """Charge (+) or discharge (-) for a time, within room_w and available_w."""
        stored_wh = self.stored_wh + power_w * dt_s / 3600.0
        self.stored_wh = min(max(stored_wh, 0.0), self.capacity_wh)
