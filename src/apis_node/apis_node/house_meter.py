"""Adds up what the house makes and uses to whole hours, for a unit that reckons with it."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

from apis_core.events import HourCounted
from apis_core.model.units import ns_from_s, wh_from_w
from apis_interfaces.msg import HouseState

__all__ = ["HouseMeter"]

_HOUR_S = 3600.0
_LONGEST_S = 300.0  # a measurement holds no longer than that
_MEASURED_RATIO = 0.9  # of an hour: with less it is left out, and the history fills the gap
_FULL_RATIO = 0.98
_EPOCH = datetime(1970, 1, 1)


class HouseMeter:
    """Adds up the powers of one house, each from its measurement to the next.

    Args:
        timezone: Of the place; an hour is one of local time.
    """

    def __init__(self, timezone: ZoneInfo) -> None:
        self._timezone = timezone
        self._last: tuple[float, float, float] | None = None  # time [s], sun and load [W]
        self._hour: int | None = None
        self._begin()

    def hear_charge(self, soc_ratio: float) -> None:
        """The state of charge of the battery: a full one may hide sun. 0..1"""
        self._was_full |= soc_ratio >= _FULL_RATIO

    def hear(self, state: HouseState) -> HourCounted | None:
        """A measurement; returns the hour that it ends, if that was measured well enough."""
        now_s = state.stamp.sec + state.stamp.nanosec * 1e-9
        counted = None
        if self._last is not None:
            since_s, solar_w, load_w = self._last
            past_s = min(now_s - since_s, _LONGEST_S)
            if past_s > 0.0:
                past_ns = ns_from_s(past_s)
                self._measured_s += past_s
                self._solar_wh += wh_from_w(solar_w, past_ns)
                self._load_wh += wh_from_w(load_w, past_ns)
        local = datetime.fromtimestamp(now_s, self._timezone).replace(tzinfo=None)
        hour = int((local - _EPOCH).total_seconds() // _HOUR_S)
        if self._hour is not None and hour != self._hour:
            if self._measured_s >= _MEASURED_RATIO * _HOUR_S:
                hides_sun = self._was_full and not self._knows_available
                counted = HourCounted(self._hour, self._solar_wh, self._load_wh, hides_sun)
            self._begin()
        self._hour = hour
        self._remember(now_s, state)
        return counted

    def _begin(self) -> None:
        self._measured_s = self._solar_wh = self._load_wh = 0.0
        self._was_full = False
        self._knows_available = True

    def _remember(self, now_s: float, state: HouseState) -> None:
        is_available_known = not math.isnan(state.solar_available_w)
        solar_w = state.solar_available_w if is_available_known else state.solar_power_w
        unserved_w = 0.0 if math.isnan(state.unserved_load_w) else state.unserved_load_w
        load_w = state.load_power_w + unserved_w
        if math.isnan(solar_w) or math.isnan(load_w):
            self._last = None
            return
        self._knows_available &= is_available_known
        self._last = now_s, solar_w, load_w
