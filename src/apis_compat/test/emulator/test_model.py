"""The original's formulas, by hand calculation from their description."""

from __future__ import annotations

import csv
from collections.abc import Callable

import numpy as np
import pytest

from apis_compat.emulator.inputs import HOURS, Inputs, constant_after, r2
from apis_compat.emulator.model import BadRequest, Emulation, NotFound


@pytest.fixture
def make() -> Callable[..., Emulation]:
    def make(
        units: int = 2, *, acceleration: float = 10, solar_w: float = 0.0, load_kw: float = 0.3
    ) -> Emulation:
        inputs = Inputs(
            constant_after([solar_w]), lambda _number: constant_after([load_kw]), units + 1
        )
        emulation = Emulation(inputs, acceleration)
        for _ in range(units):
            emulation.add_unit()
        return emulation

    return make


@pytest.mark.parametrize(("value", "rounded"), [(2.675, 2.68), (0.125, 0.12), (-2.675, -2.68)])
def test_two_decimals_are_numpys(value, rounded):
    assert r2(value) == rounded


def test_between_full_hours_stands_a_straight_line():
    sun = np.zeros(HOURS)
    sun[1] = 100.0
    inputs = Inputs(sun, lambda number: sun * number / 1000.0, 3)
    assert inputs.solar_w(0.25) == 25.0
    assert inputs.load_w(3, 1.5) == 150.0


def test_a_waiting_house_on_the_battery(make):
    emulation = make(1)
    emulation.step()
    unit = emulation.unit("E001")
    assert unit.dc_loss_w == pytest.approx(17.5 + 4.5 + 129 + 0.14 * 300)
    assert unit.emu["charge_discharge_power"] == 493.0
    assert unit.emu["battery_current"] == -10.27
    assert unit.dcdc["powermeter"]["p2"] == 57
    # 493 W in 10 s are 1.369 Wh: 0.03 % after rounding, 0.0285 % before
    assert unit.emu["rsoc"] == 49.97


def test_small_powers_move_nothing_when_steps_are_short(make):
    emulation = make(1, acceleration=1)
    for _ in range(100):
        emulation.step()
    assert emulation.unit("E001").emu["rsoc"] == 50.0  # 493 W are below 864 W


def test_bypass_and_charging_from_the_mains_have_hysteresis(make):
    emulation = make(1)
    unit = emulation.unit("E001")
    seen = []
    for rsoc in (31.0, 30.0, 34.0, 20.0, 24.9, 25.0, 34.99, 35.0):
        emulation.set_house("E001", {"rsoc": rsoc})
        emulation.step()
        mode = unit.emu["ups_operation_mode"]["mode"]
        seen.append((mode, unit.is_ac_charging))
    assert seen == [
        *((2, False), (5, False), (5, False), (5, True)),
        *((5, True), (5, False), (5, False), (2, False)),
    ]


def test_a_full_battery_throttles_the_sun(make):
    emulation = make(1, solar_w=2000.0)
    emulation.set_house("E001", {"rsoc": 100})
    emulation.step()
    unit = emulation.unit("E001")
    assert unit.emu["pvc_charge_power"] == 493.0
    assert unit.wasted_w == pytest.approx(2000.0 - 493.0)
    assert unit.emu["rsoc"] == 100.0


def test_what_overflows_is_wasted_and_what_is_missing_comes_from_the_mains(make):
    emulation = make(2, acceleration=3600, solar_w=2000.0)
    emulation.set_house("E001", {"rsoc": 99.0})
    emulation.step()
    assert emulation.unit("E001").wasted_w == pytest.approx(2000.0 - 493.0 - 48.0)
    emulation = make(1, acceleration=7200, load_kw=2.0)
    emulation.set_house("E001", {"rsoc": 35.0})
    emulation.step()
    unit = emulation.unit("E001")
    assert unit.emu["rsoc"] == 0.0
    drawn_wh = 2 * (2000.0 + 17.5 + 4.5 + 129.0 + 280.0)
    assert unit.dcdc["powermeter"]["p2"] == 57 + int(drawn_wh - 1680.0)


def test_energy_arrives_as_it_leaves_and_converters_cost_a_flat_loss(make):
    emulation = make(3, acceleration=600)
    emulation.set_converter("E001", 0.0, mode="0x0014", voltage_v=350.0, current_a=2.0)
    emulation.set_converter("E002", 0.0, mode="0x0041", voltage_v=350.0, current_a=1.5)
    meters = [unit.dcdc["meter"] for unit in emulation.units.values()]
    assert [meter["ig"] for meter in meters] == [-1.5, 1.5, 0]
    assert [meter["wb"] for meter in meters] == [-525.0 - 55, 525.0 - 71, -4.5]
    assert [meter["vg"] for meter in meters] == [350.0, 350.0, 350.0]


def test_the_voltage_rises_in_steps_of_a_second(make):
    emulation = make(2, acceleration=10)
    emulation.set_converter("E001", 5.0, mode="0x0014", voltage_v=350.9, current_a=2.0)
    meter = emulation.unit("E002").dcdc["meter"]
    seen = []
    for second in range(13):
        emulation.ramp(5.0 + second)
        seen.append(meter["vg"])
    assert seen == [int(350 * k / 12) for k in range(1, 13)] + [350.0]
    assert emulation.unit("E001").dcdc["meter"]["wb"] == -55.0  # only then the meters follow


def test_it_falls_at_once(make):
    emulation = make(1, acceleration=600)
    emulation.set_converter("E001", 0.0, mode="0x0014", voltage_v=350.0, current_a=2.0)
    emulation.acceleration = 1
    emulation.set_converter("E001", 0.0, voltage_v=340.0)
    assert emulation.unit("E001").dcdc["meter"]["vg"] == 340.0


def test_the_year_ends_with_a_last_step(make):
    emulation = make(1, acceleration=3600, solar_w=100.0)
    while not emulation.is_over:
        emulation.step()
    assert emulation.time_s == 8760 * 3600
    emulation.step()
    assert emulation.time_s == 8760 * 3600


def test_a_day_is_summed_up(make, tmp_path):
    emulation = make(2, acceleration=300, solar_w=464.2)
    for _ in range(2 * 288):
        emulation.step()
    file = tmp_path / "summary.csv"
    emulation.accounts.write_csv(file)
    rows = list(csv.DictReader(file.open()))
    assert [row["time"] for row in rows] == ["2020-01-01", "2020-01-02", "sum", "avg"]
    day = rows[0]
    assert (day["pv"], day["demand"], day["acin"]) == ("22281", "14400", str(2 * 57 * 24))
    # Each battery gives 493 - 464.2 W: 0.05 % of it a step.
    assert (day["deltaBatt"], day["avgrsoc"]) == ("-1382", "35")
    assert float(day["ssr_real"]) == round((14400 - 2736 - 1382) / 14400, 4)
    assert float(rows[2]["demand"]) == 2 * 14400
    assert float(rows[3]["demand"]) == 14400


def test_units_come_and_go_at_the_end(make):
    emulation = make(2)
    emulation.step()
    emulation.add_unit()
    assert list(emulation.units) == ["E001", "E002", "E003"]
    with pytest.raises(BadRequest, match="3 units only"):
        emulation.add_unit()
    emulation.remove_unit()
    emulation.remove_unit()
    with pytest.raises(BadRequest, match="the only unit"):
        emulation.remove_unit()
    with pytest.raises(NotFound, match="no unit E003; there are E001"):
        emulation.unit("E003")


def test_a_state_goes_round(make):
    emulation = make(2, acceleration=600)
    emulation.set_house("E002", {"rsoc": 20})
    emulation.step()
    emulation.set_house("E002", {"rsoc": 22})
    emulation.set_converter("E001", 0.0, mode="0x0014", voltage_v=350.0, current_a=2.0)
    saved = emulation.save()
    other = make(1)
    other.load(saved)
    for which in (emulation, other):
        which.acceleration = 600
        which.step()
    assert other.save() == emulation.save()


def test_a_reset_begins_anew(make):
    emulation = make(2)
    first = emulation.save()
    emulation.step()
    emulation.set_converter("E001", 0.0, mode="0x0014", voltage_v=350.0, current_a=2.0)
    emulation.reset()
    emulation.ramp(1000.0)
    assert emulation.save() == first
