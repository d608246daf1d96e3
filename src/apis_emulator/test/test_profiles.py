"""Sun and load: reproducible, different for every house, and plausible."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from apis_emulator.profiles.load import Neighbourhood, load_power_w
from apis_emulator.profiles.series import Series, Year, generator
from apis_emulator.profiles.solar import Panel, Sky, clear_sky_share, solar_power_w
from apis_site.grid import Place

PANEL = Panel(peak_w=4000.0, tilt_deg=20.0, azimuth_deg=180.0)
START = datetime(2025, 6, 21, 8, 0)


@pytest.fixture(scope="module")
def year():
    return Year(START, Place())


@pytest.fixture(scope="module")
def sky(year):
    return Sky(year, seed=1)


@pytest.fixture(scope="module")
def neighbourhood(year):
    return Neighbourhood(year, seed=1)


def by_day(minutes):
    return minutes.reshape(365, 1440)


def test_sun_is_reproducible_by_its_seed(year, sky):
    power_w = solar_power_w(sky, PANEL, "E001")
    assert np.array_equal(power_w, solar_power_w(Sky(year, seed=1), PANEL, "E001"))
    assert not np.array_equal(power_w, solar_power_w(Sky(year, seed=2), PANEL, "E001"))


def test_neighbours_share_the_weather_but_not_each_cloud(sky):
    one, other = (by_day(solar_power_w(sky, PANEL, unit_id)) for unit_id in ("E001", "E002"))
    assert np.corrcoef(one.sum(axis=1), other.sum(axis=1))[0, 1] > 0.95
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.97


def test_night_is_dark_and_noon_is_not(sky):
    day = by_day(solar_power_w(sky, PANEL, "E001"))
    assert day.min() >= 0.0
    assert day[:, : 4 * 60].max() == 0.0  # local time; the sun rises after 5:30 there
    assert day[:, 20 * 60 :].max() == 0.0
    assert day[:, 12 * 60].mean() > 1000.0


def test_yearly_sun_is_plausible(sky):
    energy_kwh = solar_power_w(sky, PANEL, "E001").sum() / 60_000.0
    assert 1000.0 < energy_kwh / 4.0 < 1600.0  # kWh per kW of peak, subtropics
    assert solar_power_w(sky, PANEL, "E001").max() < PANEL.peak_w


def test_days_and_minutes_vary_like_weather(sky):
    share = by_day(sky.share("E001"))
    daily = share.mean(axis=1)
    assert np.percentile(daily, 10) < 0.4
    assert np.percentile(daily, 90) > 0.9
    assert np.abs(np.diff(share, axis=1)).max() > 0.05  # clouds come and go within minutes
    assert np.corrcoef(daily[:-1], daily[1:])[0, 1] + 0.2 > 0.4  # fine weather lasts


def test_cloudiness_runs_from_clear_to_overcast():
    shares = clear_sky_share(np.linspace(-6.0, 6.0, 50))
    assert np.all(np.diff(shares) < 0.0)
    assert shares[0] == pytest.approx(1.02, abs=1e-3)
    assert shares[-1] == pytest.approx(0.15, abs=1e-3)


def test_southern_summer_is_in_january():
    place = Place(latitude_deg=-35.0, longitude_deg=149.0, timezone="Australia/Sydney")
    year = Year(datetime(2025, 1, 1), place)
    clear_w = Sky(year, seed=1).clear_power_w(Panel(4000.0, 20.0, 0.0)).reshape(365, -1)
    assert clear_w[:31].sum() > 1.5 * clear_w[165:196].sum()


def test_load_has_exactly_its_yearly_energy(neighbourhood):
    load_w = load_power_w(neighbourhood, 4.0e6, "E001")
    assert load_w.sum() / 60.0 == pytest.approx(4.0e6)
    assert load_w.min() >= 0.0
    assert 1500.0 < load_w.max() < 12_000.0


def test_load_is_reproducible_and_each_house_has_its_own(year, neighbourhood):
    one = load_power_w(neighbourhood, 4.0e6, "E001")
    again = load_power_w(Neighbourhood(year, seed=1), 4.0e6, "E001")
    assert np.array_equal(one, again)
    other = load_power_w(neighbourhood, 4.0e6, "E002")
    assert np.corrcoef(one, other)[0, 1] < 0.3


def test_people_sleep_at_night(neighbourhood):
    day = by_day(load_power_w(neighbourhood, 4.0e6, "E001")).mean(axis=0)
    assert day[2 * 60 : 4 * 60].mean() < 0.5 * day[17 * 60 : 21 * 60].mean()


def test_no_load_is_no_load(neighbourhood):
    assert load_power_w(neighbourhood, 0.0, "E001").max() == 0.0


def test_demandlib_leaves_the_warnings_of_the_process_alone(year):
    import warnings

    before = list(warnings.filters)
    Neighbourhood(year, seed=1)
    assert list(warnings.filters) == before


def test_series_interpolates_and_begins_again():
    series = Series(np.array([0.0, 10.0, 20.0]), step_s=60.0, origin_s=-60.0)
    assert series.at(-60.0) == 0.0
    assert series.at(0.0) == 10.0
    assert series.at(30.0) == 15.0
    assert series.at(60.0 + 30.0) == 10.0  # between the last and the first
    assert series.at(120.0) == series.at(-60.0)


def test_year_begins_at_local_midnight(year):
    assert year.origin_s == -8 * 3600.0
    first = year.instants(3600.0)[0]
    assert (first.hour, first.day, first.month) == (0, 21, 6)
    assert len(year.instants(3600.0)) == 365 * 24


def test_generators_do_not_depend_on_each_other():
    assert generator(1, "a").random() == generator(1, "a").random()
    assert generator(1, "a").random() != generator(1, "b").random()
    assert generator(1, "a").random() != generator(2, "a").random()
