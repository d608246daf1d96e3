"""Sun and load as the original takes them: a value at every full hour of a year, in between
straight lines, one sun for all houses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["HOURS", "Inputs", "constant_after", "r2"]

HOURS = 8760
FloatArray = npt.NDArray[np.float64]


def r2(value: float) -> float:
    """Two decimals as numpy rounds them: 2.675 is 2.68."""
    return math.copysign(round(float(value) * 100.0) / 100.0, value)


class Inputs:
    """A year of sun and load.

    Args:
        solar_w: Every house's sun at each full hour. [W]
        load_kw: Gives the load of the n-th unit, n from 1, at each full hour. [kW]
        houses: For how many units there is a load.
    """

    def __init__(
        self, solar_w: FloatArray, load_kw: Callable[[int], FloatArray], houses: int
    ) -> None:
        self._solar_w = solar_w
        self._load_kw = cache(load_kw)
        self.houses = houses

    def reach(self, hour: float) -> bool:
        """Whether there is a value behind this hour."""
        return int(hour + 1) < len(self._solar_w)

    @property
    def solar_year_w(self) -> FloatArray:
        """Power of a house's panels at each full hour. [W]"""
        return self._solar_w

    def load_year_w(self, unit: int) -> FloatArray:
        """What the n-th house draws at each full hour, n from 1. [W]"""
        return self._load_kw(unit) * 1000.0

    def solar_w(self, hour: float) -> float:
        """Power of a house's panels. [W]"""
        return r2(_between(self._solar_w, hour))

    def load_w(self, unit: int, hour: float) -> float:
        """What the n-th house draws, n from 1. [W]"""
        return r2(_between(self._load_kw(unit), hour) * 1000)


def _between(values: FloatArray, hour: float) -> float:
    index = min(int(hour), len(values) - 1)
    share = hour - int(hour)
    after = min(index + 1, len(values) - 1)
    return float((1 - share) * values[index] + share * values[after])


def constant_after(values: Sequence[float]) -> FloatArray:
    """A year of which only the first hours are known: the last of them goes on."""
    known = np.asarray(values, dtype=np.float64)
    return np.concatenate([known, np.full(HOURS - len(known), known[-1])])
