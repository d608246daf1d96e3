"""Where the bus voltage goes when it may: to where the converters lose least."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from apis_core.grid_master.voltage_optimisation import DealingUnit, optimal_voltage_v

RATIO = 6.5


@pytest.fixture
def policy(policy):
    """A bus of 300..380 V, 10 V apart, with 20 V of drop to allow for: 330..360 V."""
    return replace(policy, grid_voltage_drop_allowance_v=20.0)


def unit(wish_v=350.0, power_w=700.0, grid_v=350.0, **changes) -> DealingUnit:
    fields = {
        "efficient_ratio": RATIO,
        "battery_voltage_v": wish_v / RATIO,
        "grid_voltage_v": grid_v,
        "grid_power_w": power_w,
    }
    return DealingUnit(**{**fields, **changes})


def two(first, second):
    return {"E001": first, "E002": second}


def test_12_the_mean_of_what_the_units_would_like(policy):
    units = two(unit(340.0, -700.0), unit(350.0, 700.0))
    assert optimal_voltage_v(units, 350.0, policy) == pytest.approx(345.0)


def test_12_a_unit_counts_by_the_power_that_flows_through_it(policy):
    """One gives to two: its loss weighs as much as both of theirs, whoever's deals they are."""
    units = {"E001": unit(356.0, -1400.0), "E002": unit(340.0, 700.0), "E003": unit(344.0, 700.0)}
    wanted_v = (1400 * 356 + 700 * 340 + 700 * 344) / 2800
    assert optimal_voltage_v(units, 350.0, policy) == pytest.approx(wanted_v)


def test_12_the_battery_counts_as_it_is_now(policy):
    was = two(unit(battery_voltage_v=52.0), unit(battery_voltage_v=52.0))
    now = two(unit(battery_voltage_v=54.0), unit(battery_voltage_v=52.0))
    assert optimal_voltage_v(was, 350.0, policy) == pytest.approx(338.0)
    assert optimal_voltage_v(now, 350.0, policy) == pytest.approx(344.5)


@pytest.mark.parametrize(
    ("wish_v", "drop_v", "target_v"),
    [
        (320.0, 20.0, 330.0),  # three separations over the lower end
        (320.0, 35.0, 335.0),  # the drop is more than that
        (370.0, 20.0, 360.0),  # the drop below the upper end
        (375.0, 5.0, 370.0),  # a separation is more than that
        (330.0, 20.0, 330.0),
        (360.0, 20.0, 360.0),
        (344.0, 20.0, 344.0),
    ],
)
def test_12_it_stays_in_the_window(policy, wish_v, drop_v, target_v):
    policy = replace(policy, grid_voltage_drop_allowance_v=drop_v)
    units = two(unit(wish_v), unit(wish_v))
    assert optimal_voltage_v(units, 350.0, policy) == pytest.approx(target_v)


def test_12_an_empty_window_leaves_the_bus_alone(policy):
    policy = replace(policy, grid_voltage_drop_allowance_v=41.0)
    assert optimal_voltage_v(two(unit(), unit()), 350.0, policy) is None


def test_12_without_a_drop_to_allow_for_nothing_is_moved(policy):
    policy = replace(policy, grid_voltage_drop_allowance_v=None)
    assert optimal_voltage_v(two(unit(), unit()), 350.0, policy) is None


@pytest.mark.parametrize(
    ("wish_v", "grid_v", "target_v"),
    [
        (320.0, 312.0, 338.0),  # 38 V less than the reference has: 300 V are left
        (370.0, 375.0, 355.0),  # 25 V more: 380 V
        (320.0, 325.0, 330.0),  # 25 V less: the window is narrower
    ],
)
def test_12_no_unit_is_driven_out_of_the_range(policy, wish_v, grid_v, target_v):
    units = two(unit(wish_v), unit(wish_v, grid_v=grid_v))
    assert optimal_voltage_v(units, 350.0, policy) == pytest.approx(target_v)


def test_12_the_drop_counts_from_where_the_reference_is_to_be_now(policy):
    """At 340 V, 312 V are 28 V less: 330 V would leave it 302 V."""
    units = two(unit(320.0, grid_v=340.0), unit(320.0, grid_v=312.0))
    assert optimal_voltage_v(units, 340.0, policy) == pytest.approx(330.0)


def test_12_when_no_voltage_suits_all_the_bus_is_left_alone(policy):
    far_apart = two(unit(grid_v=310.0), unit(grid_v=391.0))
    assert optimal_voltage_v(far_apart, 350.0, policy) is None


@pytest.mark.parametrize("grid_v", [None, math.nan])
@pytest.mark.parametrize("is_first", [True, False])
def test_12_a_unit_whose_voltage_is_not_known_leaves_the_bus_alone(policy, grid_v, is_first):
    blind = unit(grid_v=grid_v)
    units = two(blind, unit()) if is_first else two(unit(), blind)
    assert optimal_voltage_v(units, 350.0, policy) is None


@pytest.mark.parametrize(
    "silent",
    [
        unit(360.0, efficient_ratio=None),
        unit(360.0, battery_voltage_v=None),
        unit(360.0, battery_voltage_v=math.nan),
        unit(360.0, grid_power_w=None),
        unit(360.0, grid_power_w=math.nan),
        unit(360.0, power_w=0.0),
    ],
)
def test_12_who_says_nothing_or_carries_nothing_does_not_count(policy, silent):
    assert optimal_voltage_v(two(unit(340.0), silent), 350.0, policy) == pytest.approx(340.0)
    assert optimal_voltage_v(two(silent, silent), 350.0, policy) is None


def test_12_who_does_not_count_still_keeps_its_voltage(policy):
    silent = unit(320.0, efficient_ratio=None, grid_v=312.0)
    assert optimal_voltage_v(two(unit(320.0), silent), 350.0, policy) == pytest.approx(338.0)


def test_12_without_units_or_a_setpoint_nothing_is_moved(policy):
    assert optimal_voltage_v({}, 350.0, policy) is None
    assert optimal_voltage_v(two(unit(), unit()), None, policy) is None
