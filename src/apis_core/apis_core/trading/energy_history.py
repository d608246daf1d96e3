"""What a unit has seen of its own sun and load, hour by hour, and what it expects from that.

Persistence: each of the last seven days is one way in which the next 24 hours may go, corrected by
how today has been so far. Pure data: whoever has the meters feeds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

__all__ = ["DAYS", "DAY_H", "DayAhead", "EnergyHistory"]

DAY_H = 24
DAYS = 7  # so many past days are scenarios
_KEPT_H = (DAYS + 1) * DAY_H  # today so far is compared with the same hours of those days
_MOST_KEPT_H = 4 * _KEPT_H  # then the oldest are dropped
_TELLING_SHARE = 0.05  # of a day's sun: less says nothing about the rest of the day
_MOST_CORRECTION = 3.0  # times, and its inverse


@dataclass(frozen=True, slots=True)
class DayAhead:
    """One way in which the next 24 hours may go.

    Attributes:
        solar_wh: Sun that is to be had in each hour, beginning now. [Wh]
        load_wh: Load that is wanted in each hour. [Wh]
    """

    solar_wh: tuple[float, ...]
    load_wh: tuple[float, ...]


@dataclass(slots=True)
class EnergyHistory:
    """Sun and load of the last days, in whole hours without a gap.

    Attributes:
        next_hour: The hour that is to be added next, counted from any midnight (local time); 0 at
            the beginning.
    """

    next_hour: int = 0
    _used_wh: list[float] = field(default_factory=list)  # sun that was used
    _solar_wh: list[float] = field(default_factory=list)  # sun that was to be had, as a guess
    _load_wh: list[float] = field(default_factory=list)

    def add(self, hour: int, solar_wh: float, load_wh: float, *, is_curtailed: bool) -> None:
        """Take an hour in.

        A gap of up to a day is filled with the day before; a longer one begins a new history. An
        hour that is known already is left out.

        Args:
            hour: Which, counted from the same midnight as always.
            solar_wh: Sun that was used, >= 0. [Wh]
            load_wh: Load that was wanted, >= 0. [Wh]
            is_curtailed: Whether the battery was full, so that there may have been more sun: then
                it is taken for as sunny as the best such hour of the last days.
        """
        if self._load_wh and hour < self.next_hour:
            return
        missing = hour - self.next_hour
        if missing > min(DAY_H, len(self._load_wh) // DAY_H * DAY_H):
            self._used_wh.clear()
            self._solar_wh.clear()
            self._load_wh.clear()
            missing = 0
        for _ in range(missing):
            for known in (self._used_wh, self._solar_wh, self._load_wh):
                known.append(known[-DAY_H])
        self._used_wh.append(solar_wh)
        count = len(self._used_wh)
        before = range(count - 1 - DAY_H, max(count - 2 - DAYS * DAY_H, -1), -DAY_H)
        best_wh = (
            max((self._used_wh[k] for k in before), default=solar_wh) if is_curtailed else 0.0
        )
        self._solar_wh.append(max(solar_wh, best_wh))
        self._load_wh.append(load_wh)
        self.next_hour = hour + 1
        if len(self._load_wh) > _MOST_KEPT_H:
            for known in (self._used_wh, self._solar_wh, self._load_wh):
                del known[:-_KEPT_H]

    def days_ahead(self) -> list[DayAhead]:
        """How the 24 hours from ``next_hour`` on may go; the likeliest first, none = not known."""
        count = len(self._load_wh)
        hour_of_day = self.next_hour % DAY_H
        left_h = DAY_H - hour_of_day
        today_wh = sum(islice(self._solar_wh, max(count - hour_of_day, 0), count))
        days = []
        for day in range(1, min(count // DAY_H, DAYS) + 1):
            begin = count - day * DAY_H
            solar_wh = self._solar_wh[begin : begin + DAY_H]
            if hour_of_day and begin >= hour_of_day:
                then_wh = sum(self._solar_wh[begin - hour_of_day : begin])
                rest_wh = sum(solar_wh[:left_h])
                if min(then_wh, today_wh) > _TELLING_SHARE * (then_wh + rest_wh):
                    ratio = today_wh / then_wh
                    ratio = min(max(ratio, 1.0 / _MOST_CORRECTION), _MOST_CORRECTION)
                    solar_wh[:left_h] = [wh * ratio for wh in solar_wh[:left_h]]
            days.append(DayAhead(tuple(solar_wh), tuple(self._load_wh[begin : begin + DAY_H])))
        return days
