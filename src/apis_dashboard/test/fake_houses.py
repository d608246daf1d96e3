"""Houses of an invented village: sun, loads, batteries, converters.

For tests of the page. The numbers are plausible and add up roughly; nothing here is physics.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from datetime import timedelta, timezone

from apis_core.config.scenario import Band, Rule, Rules, Scenario, Section
from apis_core.model.types import SelectionStrategy
from apis_dashboard.records import Alarm, ConverterMode, ConverterRecord, HouseRecord
from apis_site.plan import GridPlan, Place
from apis_site.site import Site, UnitSite

__all__ = ["BUS_V", "CAPACITY_WH", "LINE_OHM", "ZONE", "FakeHouses", "invented_site"]

ZONE = timezone(timedelta(hours=9), "JST")
CAPACITY_WH = 4800.0
BUS_V = 350.0
LINE_OHM = 0.8  # from each house to the middle of the bus


@dataclass(frozen=True)
class DayPart:
    """Bands of the scenario until an hour of the day, and what a unit in each names as price."""

    until_h: float
    bands: tuple[tuple[float, str], ...]  # from this state of charge on, the highest first
    prices: dict[str, tuple[float | None, float | None]]  # asked, or offered [pt/Wh]


NIGHT = DayPart(
    6.0,
    ((0.7, "excess"), (0.5, "sufficient"), (0.3, "scarce"), (0.0, "short")),
    {
        "excess": (10.0, None),
        "sufficient": (12.0, None),
        "scarce": (None, 11.0),
        "short": (None, 14.0),
    },
)
DAYTIME = DayPart(
    17.0,
    ((0.8, "excess"), (0.6, "sufficient"), (0.4, "scarce"), (0.0, "short")),
    {
        "excess": (8.0, None),
        "sufficient": (10.0, None),
        "scarce": (None, 9.0),
        "short": (None, 12.0),
    },
)
DAY = (NIGHT, DAYTIME, replace(NIGHT, until_h=24.0))


class FakeHouses:
    """What the houses have and use."""

    def __init__(self, unit_ids: list[str], chance: random.Random) -> None:
        self._random = chance
        self.soc_ratio = {unit_id: chance.uniform(0.25, 0.9) for unit_id in unit_ids}
        self._sun_w = {unit_id: chance.uniform(800.0, 2600.0) for unit_id in unit_ids}
        self._use_w = {unit_id: chance.uniform(180.0, 900.0) for unit_id in unit_ids}
        self._counters_wh = {unit_id: [0.0, 0.0, 0.0, 0.0] for unit_id in unit_ids}

    def band(self, unit_id: str, hour: float) -> str:
        """In which band of its scenario a battery is."""
        part = next(part for part in DAY if hour < part.until_h)
        return next(band for limit, band in part.bands if self.soc_ratio[unit_id] >= limit)

    def price(self, unit_id: str, hour: float) -> tuple[float, bool]:
        """What it names, and whether it asks that for energy that it would give."""
        part = next(part for part in DAY if hour < part.until_h)
        asked, offered = part.prices[self.band(unit_id, hour)]
        return (asked, True) if offered is None else (offered, False)  # type: ignore[return-value]

    def live(self, unit_id: str, hour: float, current_a: float, step_s: float) -> HouseRecord:
        """Let a house live for a step; give what its meters say."""
        sun = max(0.0, math.sin(math.pi * (hour - 5.0) / 14.0)) if 5.0 < hour < 19.0 else 0.0
        evening = 1.0 + 0.9 * math.exp(-(((hour - 19.5) / 2.0) ** 2))
        available_w = self._sun_w[unit_id] * sun * self._random.uniform(0.97, 1.0)
        load_w = self._use_w[unit_id] * self._random.uniform(0.9, 1.1) * evening
        soc = self.soc_ratio[unit_id]
        surplus_w = max(available_w - load_w / 0.9, 0.0)  # a full battery throttles the panels
        solar_w = available_w - surplus_w * min(max((soc - 0.94) / 0.02, 0.0), 1.0)
        mains_w = 0.0 if soc > 0.12 else load_w
        battery_w = 0.9 * solar_w - load_w + mains_w + BUS_V * current_a * 0.96
        gain_wh = battery_w * step_s / 3600.0
        self.soc_ratio[unit_id] = min(max(soc + gain_wh / CAPACITY_WH, 0.06), 0.97)
        return HouseRecord(
            unit_id=unit_id,
            solar_w=solar_w,
            solar_available_w=available_w,
            load_w=load_w,
            mains_w=mains_w,
            losses_w=30.0 + 0.1 * solar_w,
            unserved_w=0.0,
        )

    def reading(
        self, unit_id: str, mode: ConverterMode, current_a: float, step_s: float, *, is_up: bool
    ) -> ConverterRecord:
        """What its converter reads after a step."""
        voltage_v = BUS_V - LINE_OHM * current_a if is_up else 2.0
        power_w = voltage_v * current_a
        battery_w = power_w - 30.0 - 0.04 * abs(power_w) if mode.is_active else -4.5
        counters = self._counters_wh[unit_id]
        hours = step_s / 3600.0
        for place, watts in enumerate((power_w, -power_w, battery_w, -battery_w)):
            counters[place] += max(watts, 0.0) * hours
        return ConverterRecord(
            unit_id=unit_id,
            mode=mode,
            alarm=Alarm.NONE,
            grid_voltage_v=voltage_v,
            grid_current_a=current_a,
            grid_power_w=power_w,
            battery_voltage_v=52.0 + 2.0 * self.soc_ratio[unit_id],
            battery_current_a=battery_w / 53.0,
            battery_power_w=battery_w,
            temp_degc=31.0 + 0.004 * abs(power_w),
            grid_voltage_setpoint_v=BUS_V if mode is ConverterMode.VOLTAGE_REFERENCE else 0.0,
            grid_current_setpoint_a=abs(current_a),
            droop_ratio=0.0,
            grid_charged_wh=counters[0],
            grid_discharged_wh=counters[1],
            battery_charged_wh=counters[2],
            battery_discharged_wh=counters[3],
            term=3,
            hold_remaining_s=4.0 if mode.is_active else 0.0,
        )


def invented_site(unit_ids: list[str]) -> Site:
    """What the files of the village would say."""
    scenario = Scenario(
        tuple(
            _section(part, from_h)
            for part, from_h in zip(DAY, (0.0, *(p.until_h for p in DAY)), strict=False)
        )
    )
    places = [Place(u, 20.0 * (i // 2), 24.0 * (i % 2)) for i, u in enumerate(unit_ids)]
    units = {unit_id: UnitSite(scenario=scenario) for unit_id in unit_ids}
    return Site("village", ZONE, GridPlan.of(places), units=units, is_simulated=True)


def _section(part: DayPart, from_h: float) -> Section:
    uppers = [None, *(limit * CAPACITY_WH for limit, _ in part.bands[:-1])]
    bands = tuple(
        Band(name, limit * CAPACITY_WH or None, upper)
        for (limit, name), upper in zip(part.bands, uppers, strict=True)
    )[::-1]

    def rules(band: str, limit_wh: float) -> Rules:
        asked, offered = part.prices[band]
        if asked is not None:
            return Rules(discharge=Rule(limit_wh, asked))
        return Rules(charge=Rule(limit_wh, offered))

    return Section(
        from_s=int(from_h * 3600),
        to_s=int(part.until_h * 3600),
        bands=bands,
        request={"excess": rules("excess", 3600.0), "short": rules("short", 2400.0)},
        accept={band: rules(band, 2880.0) for band in part.prices},
        selection=SelectionStrategy.POINT_AND_AMOUNT,
    )
