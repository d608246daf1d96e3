"""A house alone lives as it does in the plant, and says beforehand where its battery will be."""

from __future__ import annotations

import math

import numpy as np
import pytest

import apis_control


def profiles() -> tuple[tuple, tuple]:
    minutes = np.arange(2880)
    sun = np.maximum(np.sin(minutes / 1440.0 * 2.0 * math.pi - math.pi / 2.0), 0.0) * 4000.0
    load = 400.0 + 300.0 * np.sin(minutes / 37.0)
    return (sun.astype(np.float32), 60.0, 0.0), (load.astype(np.float32), 60.0, 0.0)


def house(stored_wh: float = 2400.0) -> apis_control.HouseRun:
    solar, load = profiles()
    run = apis_control.HouseRun(
        apis_control.HouseTables(), capacity_wh=4800.0, stored_wh=stored_wh, solar=solar, load=load
    )
    run.set_converter(0.0, 4.5, is_on=False)
    return run


def test_it_lives_as_in_the_plant():
    solar, load = profiles()
    plant = apis_control.Plant(bus={"idle_step_s": 60.0})
    unit = plant.add(
        apis_control.Converter(), capacity_wh=4800.0, stored_wh=2400.0, solar=solar, load=load
    )
    plant.step(2 * 86_400.0)
    run = house()
    run.advance(2 * 86_400.0)
    for name in ("stored_wh", "solar_wh", "curtailed_wh", "mains_wh", "load_wh", "dc_loss_wh"):
        assert getattr(run, name) == pytest.approx(getattr(unit, name), rel=1e-9, abs=1e-6), name


def test_it_says_when_its_battery_leaves_a_range():
    run = house()
    leaves_s = run.leaves_at(2000.0, 2600.0, 86_400.0)
    assert 0.0 < leaves_s < 86_400.0
    assert run.time_s == 0.0  # looking ahead moves nothing
    run.advance(leaves_s)
    at_edge_wh = min(abs(run.stored_wh - 2000.0), abs(run.stored_wh - 2600.0))
    assert at_edge_wh < 0.01


def test_what_is_committed_counts_with_the_store():
    run = house()
    run.set_converter(700.0, 40.0, is_on=True)
    plain_s = run.leaves_at(0.0, 2500.0, 86_400.0)
    # a deal under way: what has come is not to come any more
    steady_s = run.leaves_at(0.0, 2500.0, 86_400.0, 100.0 - 1e-6, -660.0 / 3600.0)
    assert plain_s < steady_s


def test_energy_balances():
    run = house()
    for hour in range(48):
        run.set_converter(500.0 if hour % 3 == 0 else -400.0, 35.0, is_on=True)
        run.advance(3600.0 * (hour + 1))
    into_wh = run.solar_wh + run.mains_wh + run.received_wh
    out_wh = run.load_wh + run.sent_wh + run.ac_loss_wh + run.dc_loss_wh + run.battery_loss_wh
    assert into_wh == pytest.approx(out_wh + run.stored_wh - 2400.0, rel=1e-9)


@pytest.mark.parametrize(
    "wrong", [{"stored_wh": 5000.0}, {"capacity_wh": 0.0}, {"step_s": -1.0}, {"solar": math.nan}]
)
def test_a_wrong_house_is_refused(wrong):
    values = {"capacity_wh": 4800.0, "stored_wh": 100.0, "solar": 0.0, "load": 0.0} | wrong
    with pytest.raises(apis_control.InvalidValue):
        apis_control.HouseRun(apis_control.HouseTables(), **values)
