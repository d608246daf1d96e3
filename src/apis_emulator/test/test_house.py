"""A house behind its converter: balance, UPS hysteresis, mains, curtailment, darkness, battery."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import apis_control
from apis_site.grid import BatteryCells, HouseModel

IN = ("solar_wh", "mains_wh")
OUT = ("load_wh", "ac_loss_wh", "dc_loss_wh", "battery_loss_wh")


def make(soc_ratio: float, solar_w=0.0, load_w=500.0, mains=True, **house: float):
    plant = apis_control.Plant(house=house)
    unit = plant.add(
        apis_control.Converter(),
        capacity_wh=4800.0,
        stored_wh=4800.0 * soc_ratio,
        solar=solar_w,
        load=load_w,
        has_mains=mains,
    )
    return plant, unit


def test_what_cpp_has_by_default_is_what_the_configuration_says():
    plants = [
        apis_control.Plant(),
        apis_control.Plant(house=HouseModel().model_dump(), cells=BatteryCells().model_dump()),
        apis_control.Plant(cells={"charge_25degc_mohm": [99.0] * 7}),
    ]
    stored_wh = []
    for plant in plants:
        unit = plant.add(
            apis_control.Converter(),
            capacity_wh=4800.0,
            stored_wh=4700.0,
            solar=([0.0, 3000.0, 0.0, 0.0], 3600.0, 0.0),
            load=700.0,
        )
        plant.step(86_400.0)
        stored_wh.append((unit.stored_wh, unit.mains_wh, unit.battery_loss_wh, unit.pack_degc))
    assert stored_wh[0] == stored_wh[1]
    assert stored_wh[0] != stored_wh[2]


@pytest.mark.parametrize(
    "cells",
    [
        {"soc_ratio": [0.0, 1.0]},
        {"soc_ratio": [0.5, 1.0], "open_circuit_v": [48.0, 50.0]},
        {"soc_ratio": [0.0, 0.0, 1.0], "open_circuit_v": [48.0, 49.0, 50.0]},
        {"discharge_40degc_mohm": [1.0] * 6},
        {"discharge_40degc_mohm": [0.0] * 7},
    ],
)
def test_a_table_that_is_none_is_refused(cells):
    with pytest.raises(apis_control.InvalidValue, match="must"):
        apis_control.Plant(cells=cells)


@given(
    soc_ratio=st.floats(0.0, 1.0),
    solar_w=st.floats(0.0, 7000.0, width=32),
    load_w=st.floats(0.0, 8000.0, width=32),
    mains=st.booleans(),
    dt_s=st.floats(0.01, 5000.0),
)
@example(soc_ratio=1.0, solar_w=7000.0, load_w=0.0, mains=True, dt_s=1.0)
@example(soc_ratio=0.0, solar_w=0.0, load_w=500.0, mains=False, dt_s=1.0)
def test_energy_balances(soc_ratio, solar_w, load_w, mains, dt_s):
    plant, unit = make(soc_ratio, solar_w, load_w, mains)
    before_wh = unit.stored_wh
    plant.step(dt_s)
    into_wh = unit.solar_wh + unit.mains_wh
    out_wh = sum(getattr(unit, name) for name in OUT)
    assert into_wh - out_wh == pytest.approx(
        unit.stored_wh - before_wh, abs=1e-9 * max(into_wh, out_wh, 1.0)
    )
    assert unit.solar_wh + unit.curtailed_wh == pytest.approx(solar_w * dt_s / 3600.0)
    assert unit.load_wh + unit.unserved_wh == pytest.approx(load_w * dt_s / 3600.0)
    for name in (*IN, *OUT, "curtailed_wh", "unserved_wh"):
        assert getattr(unit, name) >= 0.0, name
    assert 0.0 <= unit.stored_wh <= unit.capacity_wh


def test_ups_hands_over_to_the_mains_and_back():
    plant, unit = make(0.31)
    seen = []
    for soc_ratio in (0.31, 0.30, 0.34, 0.36, 0.20, 0.24, 0.26):
        unit.stored_wh = 4800.0 * soc_ratio
        plant.step(0.001)
        seen.append((unit.is_bypass, unit.is_ac_charging))
    assert seen == [(0, 0), (1, 0), (1, 0), (0, 0), (1, 1), (1, 1), (1, 0)]


def test_mains_carries_the_load_in_bypass_only():
    plant, unit = make(0.5)
    plant.step(1.0)
    assert unit.mains_w == pytest.approx(57.0)  # the transformer
    unit.stored_wh = 0.28 * 4800.0
    plant.step(1.0)
    assert unit.mains_w == pytest.approx(500.0 + 57.0 + 67.0 + 0.06 * 500.0)
    unit.stored_wh = 0.15 * 4800.0
    plant.step(1.0)
    assert unit.mains_w == pytest.approx(500.0 + 57.0 + 67.0 + 0.06 * 500.0 + 160.0)
    assert unit.battery_w == pytest.approx(150.0 - 17.5 - 4.5)


def test_full_battery_throttles_the_panels():
    plant, unit = make(1.0, solar_w=3000.0)
    plant.step(60.0)
    assert unit.stored_wh == pytest.approx(4800.0, abs=0.1)
    assert unit.solar_w == pytest.approx(500.0 * 1.14 + 129.0 + 17.5 + 4.5, abs=1.0)
    assert unit.curtailed_wh > 30.0


def test_house_without_mains_goes_dark_before_the_battery_is_damaged():
    plant, unit = make(0.021, mains=False)
    plant.step(600.0)
    assert unit.is_dark
    assert unit.load_w == 0.0
    assert unit.unserved_w == 500.0
    assert unit.mains_w == 0.0


@pytest.mark.parametrize(("c_rate", "low", "high"), [(0.2, 0.970, 0.985), (0.5, 0.93, 0.97)])
def test_a_cycle_returns_what_the_literature_says(c_rate, low, high):
    """97 to 98 % at 0.2 C, about 95 to 96 % at 0.5 C between 10 and 90 % (SimSES, SonyLFP)."""
    power_w = c_rate * 4800.0
    free = {
        "system_loss_w": 0.0,
        "inverter_loss_w": 0.0,
        "inverter_loss_ratio": 0.0,
        "extra_resistance_ohm": 0.0,
        "dark_on_ratio": 0.0,
        "dark_off_ratio": 0.0,
    }
    taken_wh, given_wh = 0.0, 0.0
    plant, unit = make(0.1, power_w, 0.0, mains=False, **free)
    while unit.soc_ratio < 0.9:
        plant.step(1.0)
        taken_wh += unit.battery_w / 3600.0
    plant.set_profiles(0, 0.0, power_w)
    while unit.soc_ratio > 0.1:
        plant.step(1.0)
        given_wh -= unit.battery_w / 3600.0
    assert low < given_wh / taken_wh < high


def test_terminal_voltage_follows_the_current():
    plant, unit = make(0.5, solar_w=0.0, load_w=2000.0)
    plant.step(1.0)
    loaded_v = unit.battery_v
    plant.set_profiles(0, 2500.0, 0.0)
    plant.step(1.0)
    assert loaded_v < unit.open_circuit_v < unit.battery_v
    assert unit.battery_a * unit.battery_v == pytest.approx(unit.battery_w)


def test_no_charging_in_the_cold():
    plant, unit = make(0.5, solar_w=4000.0, load_w=0.0, ambient_degc=-5.0)
    plant.step(10.0)
    assert unit.battery_w == 0.0
    assert unit.curtailed_wh > 0.0
