"""What a watt-hour is worth, by the energy in the battery."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apis_core.config.scenario import parse_scenario
from apis_core.config.value_rule import ValueRule
from apis_core.trading.energy_history import DAY_H, DayAhead
from apis_core.trading.energy_worth import CELLS, energy_worth, turning_energy_wh

EMPTY, FULL = 1000.0, 4000.0


def rule(**value: Any) -> ValueRule:
    scenario = parse_scenario(json.dumps({"rule": "value", "value": value}), "scenario")
    assert scenario.value is not None
    return scenario.value


def day(solar_w: float = 0.0, load_w: float = 300.0) -> DayAhead:
    """Sun from 8 to 16 h; it begins at midnight."""
    sun = (0.0,) * 8 + (solar_w,) * 8 + (0.0,) * 8
    return DayAhead(sun, (load_w,) * DAY_H)


@pytest.mark.parametrize(
    ("net_wh", "later_wh", "turn_wh"),
    [
        ([-500.0], [], 4000.0),  # it only falls: empty in the end, from wherever
        ([-500.0, -500.0], [], 4000.0),
        ([500.0], [], 1000.0),  # it only rises
        ([-500.0, 3500.0], [], 1500.0),  # empty first up to 1500, then it fills up
        ([2000.0, -3000.0], [], 2000.0),  # from 2000 on it is full before the night
        ([-100.0, 50.0], [-100.0] * 40, 4000.0),
        ([-100.0, 50.0], [150.0] * 40, 1100.0),
    ],
)
def test_below_the_turning_energy_the_battery_is_empty_first(net_wh, later_wh, turn_wh):
    assert turning_energy_wh(net_wh, later_wh, EMPTY, FULL) == pytest.approx(turn_wh)


def test_the_turning_energy_is_where_a_simulation_turns():
    net_wh = [-300.0, -250.0, 700.0, 1900.0, -800.0, 40.0, -2900.0, 400.0]
    turn_wh = turning_energy_wh(net_wh, [-100.0] * 48, EMPTY, FULL)

    def is_empty_first(energy_wh: float) -> bool:
        for wh in [*net_wh, *[-100.0] * 48]:
            energy_wh += wh
            if energy_wh <= EMPTY:
                return True
            if energy_wh >= FULL:
                return False
        return True

    for energy_wh in range(1010, 4000, 10):
        assert is_empty_first(energy_wh) is (energy_wh < turn_wh), energy_wh


def test_worth_falls_from_the_empty_battery_to_the_full_one():
    days = [day(200.0), day(900.0), day(1500.0), day(3000.0)]
    worth = energy_worth(rule(), 4800.0, days)
    assert len(worth.cells) == CELLS
    assert list(worth.cells) == sorted(worth.cells, reverse=True)
    assert worth.at(100.0) == worth.cells[0] == pytest.approx(worth.most)
    assert worth.at(4790.0) == worth.cells[-1] < worth.cells[8]


def test_without_sun_every_watt_hour_saves_the_mains():
    worth = energy_worth(rule(), 4800.0, [day()])
    # 300 W cost 385 W of mains, or 471 W of battery
    assert worth.at(3000.0) == pytest.approx(12.0 * 0.98 * 385.0 / 471.0)


def test_what_will_be_curtailed_is_worth_nothing():
    # eight hours take 2120 Wh from the battery, or 3528 Wh, before there is more sun than it holds
    assert energy_worth(rule(), 4800.0, [day(4000.0, load_w=100.0)]).at(4600.0) == 0.0
    assert energy_worth(rule(), 4800.0, [day(4000.0, load_w=255.0)]).at(4600.0) > 0.0


def test_a_large_load_makes_a_watt_hour_worth_more():
    small, large = (energy_worth(rule(), 4800.0, [day(load_w=w)]) for w in (100.0, 1500.0))
    assert large.most > small.most


def test_without_mains_the_dark_has_its_price():
    worth = energy_worth(rule(mains=False, darkPointPerWh=100), 4800.0, [day()])
    assert worth.at(1000.0) == pytest.approx(100.0 * 0.98 * 300.0 / 471.0)


def test_without_forecast_the_charge_alone_counts():
    worth = energy_worth(rule(), 4800.0, [])
    middle_wh = 0.5 * (0.325 + 0.98) * 4800.0
    assert worth.at(100.0) == pytest.approx(worth.most)
    assert worth.at(middle_wh) == pytest.approx(0.5 * worth.most, rel=0.1)
    assert worth.at(4790.0) < 0.01 * worth.most
