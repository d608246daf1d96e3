"""What a unit has seen of its sun and load, and what it expects from that."""

from __future__ import annotations

import pytest

from apis_core.trading.energy_history import DAY_H, DAYS, EnergyHistory

SUN = [0.0] * 8 + [1000.0] * 8 + [0.0] * 8


def fill(history: EnergyHistory, hours: int, *, sun: float = 1.0, first: int = 0) -> None:
    for hour in range(first, first + hours):
        solar_wh = SUN[hour % DAY_H] * sun
        history.add(hour, solar_wh, 200.0 + hour // DAY_H, is_curtailed=False)


def test_nothing_is_expected_before_a_whole_day_is_known():
    history = EnergyHistory()
    fill(history, DAY_H - 1)
    assert history.days_ahead() == []
    fill(history, 1, first=DAY_H - 1)
    assert [day.solar_wh for day in history.days_ahead()] == [tuple(SUN)]


def test_each_of_the_last_seven_days_is_one_way():
    history = EnergyHistory()
    fill(history, 40 * DAY_H)  # more than it keeps
    days = history.days_ahead()
    assert [day.load_wh[0] for day in days] == [239.0 - k for k in range(DAYS)]  # the last first


def test_the_day_ahead_begins_now():
    history = EnergyHistory()
    fill(history, 3 * DAY_H + 10)
    for day in history.days_ahead():
        assert day.solar_wh == tuple(SUN[10:] + SUN[:10])


def test_a_dull_morning_makes_a_dull_afternoon_but_not_a_dull_tomorrow():
    history = EnergyHistory()
    fill(history, 3 * DAY_H)
    fill(history, 12, sun=0.5, first=3 * DAY_H)
    day = history.days_ahead()[1]
    assert day.solar_wh[:4] == (500.0,) * 4
    assert max(day.solar_wh[DAY_H - 12 :]) == 1000.0


def test_a_full_battery_hides_sun():
    history = EnergyHistory()
    fill(history, 2 * DAY_H)
    for hour in range(2 * DAY_H, 3 * DAY_H):
        history.add(hour, 0.4 * SUN[hour % DAY_H], 200.0, is_curtailed=True)
    assert history.days_ahead()[0].solar_wh == tuple(SUN)


def test_a_short_gap_is_filled_and_a_long_one_begins_anew():
    history = EnergyHistory()
    fill(history, 2 * DAY_H)
    fill(history, 1, first=2 * DAY_H + 5)
    assert history.next_hour == 2 * DAY_H + 6
    assert history.days_ahead()[0].solar_wh == tuple(SUN[6:] + SUN[:6])
    fill(history, 1, first=5 * DAY_H)
    assert history.days_ahead() == []


def test_an_hour_counts_once():
    history = EnergyHistory()
    fill(history, 2 * DAY_H)
    history.add(DAY_H, 9_000.0, 9_000.0, is_curtailed=False)
    assert max(history.days_ahead()[0].solar_wh) == 1000.0
    assert history.next_hour == 2 * DAY_H


@pytest.mark.parametrize("hour", [0, 17, 1_000])
def test_it_may_begin_at_any_hour(hour):
    history = EnergyHistory()
    fill(history, DAY_H, first=hour)
    assert len(history.days_ahead()) == 1
