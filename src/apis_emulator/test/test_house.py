"""A house: balance, UPS hysteresis, mains, curtailment, darkness."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apis_emulator.physics.battery import Battery
from apis_emulator.physics.house import House, HouseFlow


def step(house: House, **powers: float) -> HouseFlow:
    values = {
        "solar_available_w": 0.0,
        "load_w": 500.0,
        "converter_w": -4.5,
        "converter_loss_w": 4.5,
        "dt_s": 1.0,
    }
    return house.step(**(values | powers))


def house_at(soc_ratio: float, **rest: bool) -> House:
    return House(Battery(4800.0, 4800.0 * soc_ratio), **rest)


@given(
    soc_ratio=st.floats(0.0, 1.0),
    solar_w=st.floats(0.0, 7000.0),
    load_w=st.floats(0.0, 8000.0),
    converter_w=st.floats(-2500.0, 2500.0),
    mains=st.booleans(),
    dt_s=st.floats(0.01, 10.0),
)
@example(soc_ratio=1.0, solar_w=100.0, load_w=0.0, converter_w=2500.0, mains=True, dt_s=1.0)
@example(soc_ratio=0.0, solar_w=0.0, load_w=500.0, converter_w=-4.5, mains=False, dt_s=1.0)
def test_powers_balance(soc_ratio, solar_w, load_w, converter_w, mains, dt_s):
    house = house_at(soc_ratio, mains=mains)
    before_wh = house.battery.stored_wh
    flow = step(
        house,
        solar_available_w=solar_w,
        load_w=load_w,
        converter_w=converter_w,
        converter_loss_w=50.0,
        dt_s=dt_s,
    )
    grid_w = converter_w + 50.0
    assert flow.solar_w + flow.mains_w + grid_w == pytest.approx(
        flow.load_w + flow.losses_w + flow.battery_w, abs=1e-6
    )
    moved_wh = house.battery.stored_wh - before_wh
    assert moved_wh == pytest.approx(flow.battery_w * dt_s / 3600.0, abs=1e-9)
    assert 0.0 <= flow.solar_w <= solar_w
    assert flow.load_w + flow.unserved_w == load_w
    assert 0.0 <= house.battery.soc_ratio <= 1.0


def test_battery_mode_has_the_losses_of_the_original():
    flow = step(house_at(0.6))
    assert flow.mains_w == 57.0
    assert flow.battery_w == pytest.approx(-(500.0 + 17.5 + 4.5 + 129.0 + 0.14 * 500.0))


def test_bypass_feeds_the_load_from_the_mains():
    flow = step(house_at(0.29), solar_available_w=1000.0)
    assert flow.mains_w == pytest.approx(500.0 + 57.0 + 67.0 + 0.06 * 500.0)
    assert flow.battery_w == pytest.approx(1000.0 - 17.5 - 4.5)


def test_ups_keeps_its_state_between_the_thresholds():
    house = house_at(0.33)
    step(house)
    assert not house.is_bypass
    for soc_ratio, is_bypass, is_ac_charging in (
        (0.30, True, False),
        (0.34, True, False),
        (0.20, True, True),
        (0.24, True, True),
        (0.25, True, False),
        (0.35, False, False),
    ):
        house.battery.stored_wh = 4800.0 * soc_ratio
        step(house)
        assert (house.is_bypass, house.is_ac_charging) == (is_bypass, is_ac_charging)


def test_mains_charges_a_low_battery():
    flow = step(house_at(0.15))
    assert flow.battery_w == pytest.approx(150.0 - 17.5 - 4.5)


def test_full_battery_throttles_the_panels():
    flow = step(house_at(1.0), solar_available_w=3000.0)
    assert flow.battery_w == pytest.approx(0.0, abs=1e-9)
    assert flow.solar_w == pytest.approx(500.0 * 1.14 + 129.0 + 17.5 + 4.5)
    assert flow.solar_available_w == 3000.0
    assert flow.overcharge_w == 0.0


def test_house_without_mains_goes_dark_and_comes_back():
    house = house_at(0.03, mains=False)
    assert step(house).load_w == 500.0
    house.battery.stored_wh = 4800.0 * 0.02
    dark = step(house)
    assert (dark.load_w, dark.unserved_w, dark.mains_w) == (0.0, 500.0, 0.0)
    house.battery.stored_wh = 4800.0 * 0.04
    assert step(house).unserved_w == 500.0
    house.battery.stored_wh = 4800.0 * 0.05
    assert step(house).unserved_w == 0.0


@given(st.floats(0.0, 0.999))
def test_battery_voltage_rises_with_its_charge(soc_ratio):
    battery, fuller = Battery(1000.0, 1000.0 * soc_ratio), Battery(1000.0, 1000.0 * soc_ratio + 1)
    assert 36.0 < battery.voltage_v < fuller.voltage_v < 56.6
