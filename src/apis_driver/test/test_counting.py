from __future__ import annotations

import math

import pytest

from apis_core.model.types import ConverterMode
from apis_driver.counting import EnergyCounter
from apis_driver.device import DcdcStatus

M = ConverterMode


def status(current_a: float, mode: ConverterMode = M.CHARGE, voltage_v: float = 350.0):
    return DcdcStatus(mode=mode, grid_voltage_v=voltage_v, grid_current_a=current_a)


def counter_at(current_a: float, at_s: float = 10.0, slew_a_per_s: float = 1.0) -> EnergyCounter:
    counter = EnergyCounter(slew_a_per_s)
    for when_s in (0.0, at_s):
        counter.add(status(current_a), when_s)
    return counter


def test_directions_are_counted_apart():
    counter = counter_at(2.0)
    counter.add(status(-2.0, M.DISCHARGE), 20.0)  # it crosses zero half-way
    assert counter.grid_wh == pytest.approx((8750 / 3600, 1750 / 3600))


def test_until_a_stop_is_ordered_it_flows_as_it_was_read_last():
    counter = counter_at(2.0)
    counter.begin(None, 0.0)
    counter.note_stop(M.CHARGE, 12.0)
    assert counter.moved_wh == pytest.approx(700 * 2 / 3600)
    counter.add(status(0.0, M.WAIT), 12.1)
    assert counter.moved_wh == pytest.approx(700 * 2.05 / 3600)


def test_a_stop_is_due_when_what_still_flows_makes_up_the_limit():
    counter = counter_at(2.0)
    counter.begin(1.0, 0.0)
    # 3600 Ws less V*i*i/(2 s) = 700 Ws while it runs down, at 700 W
    assert counter.stop_due_s(M.CHARGE, 0.0) == pytest.approx(10.0 + (3600 - 700) / 700)
    assert counter.stop_due_s(M.CHARGE, 0.5) == pytest.approx(10.0 + (3600 - 700 - 350) / 700)
    assert counter.stop_due_s(M.VOLTAGE_REFERENCE, 0.0) == pytest.approx(10.0 + 3600 / 700)
    counter.set_limit(1.0, 1.5)  # only 0.5 A leaves
    assert counter.stop_due_s(M.CHARGE, 0.0) == pytest.approx(10.0 + (3600 - 175) / 700)
    counter.set_limit(None, 0.0)
    assert counter.stop_due_s(M.CHARGE, 0.0) == math.inf


def test_without_a_current_no_stop_is_in_sight():
    counter = counter_at(0.0)
    counter.begin(1.0, 0.0)
    assert counter.stop_due_s(M.CHARGE, 0.0) == math.inf


def test_how_fast_a_current_runs_down_is_learnt_from_the_first_stop():
    counter = counter_at(2.0, slew_a_per_s=20.0)
    counter.note_stop(M.CHARGE, 10.0)
    for step in range(1, 41):  # 1 A/s
        counter.add(status(max(2.0 - step * 0.05, 0.0), M.WAIT), 10.0 + step * 0.05)
    assert counter.stop_slew_a_per_s == pytest.approx(1.0, rel=0.02)


def test_power_alone_is_counted_too():
    counter = EnergyCounter(1.0)
    for at_s in (0.0, 36.0):
        counter.add(DcdcStatus(mode=M.CHARGE, grid_power_w=100.0), at_s)
    assert counter.grid_wh[0] == pytest.approx(1.0)


def test_a_current_that_is_gone_before_it_is_read_again_was_not_half_there_until_then():
    counter = counter_at(2.0, slew_a_per_s=20.0)
    counter.begin(None, 0.0)
    counter.note_stop(M.CHARGE, 10.0)
    counter.add(status(0.0, M.WAIT), 15.0)
    assert counter.moved_wh == pytest.approx(350.0 * 0.1 / 3600.0)  # 2 A at 20 A/s
    assert counter.stop_slew_a_per_s == 20.0


def test_one_that_is_gone_sooner_than_was_thought_ran_down_faster():
    counter = counter_at(2.0, slew_a_per_s=1.0)
    counter.note_stop(M.CHARGE, 10.0)
    counter.add(status(0.0, M.WAIT), 10.1)
    assert counter.stop_slew_a_per_s == pytest.approx(20.0)


def test_where_it_came_to_nothing_is_told_by_how_it_ran_down_before():
    counter = counter_at(2.0, slew_a_per_s=20.0)
    counter.begin(None, 0.0)
    counter.note_stop(M.CHARGE, 10.0)
    counter.add(status(1.0, M.WAIT), 11.0)  # 1 A/s, so that it is at its end at 12 s
    counter.add(status(0.0, M.WAIT), 20.0)
    assert counter.moved_wh == pytest.approx(350.0 * 2.0 / 3600.0)
