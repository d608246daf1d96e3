"""What a house makes and uses, in whole hours."""

from __future__ import annotations

from math import nan
from zoneinfo import ZoneInfo

import pytest
from builtin_interfaces.msg import Time

from apis_core.events import HourCounted
from apis_interfaces.msg import HouseState
from apis_node.house_meter import HouseMeter

UTC = ZoneInfo("UTC")
START_S = 1_750_000_000 // 3600 * 3600


def state(
    after_s: float, solar_w: float = 600.0, load_w: float = 300.0, **more: float
) -> HouseState:
    fields = {"solar_available_w": nan, "unserved_load_w": nan, **more}
    stamp = Time(sec=START_S + int(after_s))
    return HouseState(stamp=stamp, solar_power_w=solar_w, load_power_w=load_w, **fields)


def hours(meter: HouseMeter, until_s: int, step_s: int = 60, **more: float) -> list[HourCounted]:
    counted = [meter.hear(state(s, **more)) for s in range(0, until_s + 1, step_s)]
    return [hour for hour in counted if hour is not None]


def test_each_whole_hour_is_counted_once():
    first, second = hours(HouseMeter(UTC), 7200)
    assert first == HourCounted(START_S // 3600, 600.0, 300.0, False)
    assert second.hour == first.hour + 1


def test_the_hour_is_one_of_local_time():
    (hour,) = hours(HouseMeter(ZoneInfo("Asia/Tokyo")), 3600)
    assert hour.hour == START_S // 3600 + 9


def test_a_full_battery_hides_sun_unless_somebody_measures_what_there_was():
    for available_w, expected in ((nan, True), (2000.0, False)):
        meter = HouseMeter(UTC)
        meter.hear_charge(0.99)
        (hour,) = hours(meter, 3600, solar_available_w=available_w)
        assert hour.is_curtailed is expected
        assert hour.solar_wh == pytest.approx(600.0 if expected else 2000.0)


def test_load_that_was_not_supplied_was_wanted():
    (hour,) = hours(HouseMeter(UTC), 3600, unserved_load_w=100.0)
    assert hour.load_wh == pytest.approx(400.0)


def test_an_hour_with_a_hole_is_left_out():
    meter = HouseMeter(UTC)
    assert meter.hear(state(0)) is None
    assert meter.hear(state(1800)) is None
    assert meter.hear(state(3600)) is None
    assert hours(HouseMeter(UTC), 3600, solar_w=nan) == []
