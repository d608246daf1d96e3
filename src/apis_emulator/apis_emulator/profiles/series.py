"""A year of samples, and the year that they belong to."""

from __future__ import annotations

import zlib
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from apis_core.model.units import DAY_S
from apis_emulator.profiles.cache import Samples
from apis_site.grid import Place

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DAYS", "FloatArray", "Series", "Year", "generator"]

DAYS = 365
FloatArray = npt.NDArray[np.float64]


class Series:
    """Samples at equal distances, joined by straight lines; after the last comes the first again.

    Args:
        values: Samples; the first one stands at `origin_s`.
        step_s: Distance. [s]
        origin_s: Time of the first sample, in seconds since the start of the emulation. [s]
    """

    __slots__ = ("_origin_s", "_step_s", "_values")

    def __init__(self, values: FloatArray | Samples, *, step_s: float, origin_s: float) -> None:
        # Single precision halves a year of minutes to 2 MB; a view gives out plain floats, far
        # faster than numpy scalars.
        self._values = memoryview(values.astype(np.float32, copy=False))  # type: ignore[arg-type]
        self._step_s = step_s
        self._origin_s = origin_s

    @property
    def samples(self) -> tuple[npt.NDArray[np.float32], float, float]:
        """The values (not copied), their distance and the time of the first. [s]"""
        return np.asarray(self._values), self._step_s, self._origin_s

    def at(self, time_s: float) -> float:
        """Value at a time since the start of the emulation. [s]"""
        position = (time_s - self._origin_s) / self._step_s
        index = int(position // 1.0)
        share = position - index
        count = len(self._values)
        before, after = self._values[index % count], self._values[(index + 1) % count]
        return before + share * (after - before)


class Year:
    """The 365 days from the local midnight before the start of an emulation, at a place.

    Attributes:
        start: Start of the emulation, with its time zone.
        place: Where.
    """

    def __init__(self, start: datetime, place: Place) -> None:
        self.place = place
        self.start = start.replace(tzinfo=ZoneInfo(place.timezone))

    @cached_property
    def origin_s(self) -> float:
        """Local midnight before the start, in seconds since the start, <= 0. [s]"""
        midnight = self.start.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight.timestamp() - self.start.timestamp()

    def instants(self, step_s: float) -> pd.DatetimeIndex:
        """Instants at equal distances over the year, in local civil time."""
        import pandas as pd  # half a second that a grid without profiles can do without

        origin = pd.Timestamp(self.start.timestamp() + self.origin_s, unit="s", tz="UTC")
        count = round(DAYS * DAY_S / step_s)
        index = pd.date_range(origin, periods=count, freq=pd.Timedelta(seconds=step_s))
        return index.tz_convert(self.place.timezone)

    def series(self, values: FloatArray | Samples) -> Series:
        """The samples of a whole year as a series."""
        return Series(values, step_s=DAYS * DAY_S / len(values), origin_s=self.origin_s)


def generator(seed: int, *names: str) -> np.random.Generator:
    """A random generator for one purpose: what one house draws does not depend on the others."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])
