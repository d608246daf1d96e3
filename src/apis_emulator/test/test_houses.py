"""Building the plant of a grid: profile files good and bad, and what is drawn."""

from __future__ import annotations

import csv
import json
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from apis_core.model.errors import ConfigError
from apis_emulator.houses import build_plant, drawn, start_of
from apis_emulator.profiles.csv_files import (
    customer_of,
    hourly_year,
    read_load_csv,
    read_solar_csv,
)
from apis_emulator.profiles.series import Year
from apis_site.grid import Emulation, GridDescription, House, Place, UnitEntry


def write_csv(path: Path, rows: list[list[object]]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)  # CRLF, like the original's files
    return str(path)


def solar_rows() -> list[list[object]]:
    """Hour h of day d: 10 * h + d/1000 W."""
    return [[10.0 * hour + day / 1000.0 for hour in range(24)] for day in range(365)]


def load_rows(customers: int = 2) -> list[list[object]]:
    """Customer c at half hour k: c + k/100 kW."""
    header: list[object] = ["", "customer", *range(52)]
    return [
        header,
        *(
            [0, customer, 0, 0, 0, 0, *(customer + k / 100.0 for k in range(48))]
            for customer in range(1, customers + 1)
            for _ in range(366)
        ),
    ]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    """Nothing that was made before must make a test pass."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "apis" / "profiles"


@pytest.fixture
def grid(tmp_path, hardware):
    (tmp_path / "hardware.json").write_text(json.dumps(hardware))

    def make(*houses: House, **emulation: object) -> GridDescription:
        units = tuple(
            UnitEntry(
                id=f"E{index:03}",
                hardware=str(tmp_path / "hardware.json"),
                scenario="unused",
                house=house,
            )
            for index, house in enumerate(houses, start=1)
        )
        return GridDescription(policy="unused", units=units, emulator=Emulation(**emulation))

    return make


# --- files ------------------------------------------------------------------------------------


def test_solar_file_gives_watts_by_local_day_and_hour(grid, tmp_path):
    file = write_csv(tmp_path / "solar.csv", solar_rows())
    plant = build_plant(
        grid(House(solar_csv=file, load_wh_per_year=0.0), start="2025-01-03T07:00")
    )
    profile = plant.units["E001"].installation.at
    assert profile(0.0)[0] == pytest.approx(70.002)
    assert profile(1800.0)[0] == pytest.approx(75.002)  # half-way to the next sample
    assert profile(17 * 3600.0)[0] == pytest.approx(0.003, abs=1e-6)  # midnight, the next row


def test_load_file_gives_each_house_its_customer(grid, tmp_path):
    solar = write_csv(tmp_path / "solar.csv", solar_rows())
    load = write_csv(tmp_path / "load.csv", load_rows())
    house = House(solar_csv=solar, load_csv=load)
    plant = build_plant(grid(house, house, start="2025-01-01T00:00"))
    assert plant.units["E001"].installation.load.at(0.0) == pytest.approx(1000.0)
    assert plant.units["E002"].installation.load.at(0.0) == pytest.approx(2000.0)
    # Only the values at full hours count: 01:00 is the third one, k = 2.
    assert plant.units["E001"].installation.load.at(3600.0) == pytest.approx(1020.0)
    assert plant.units["E001"].installation.load.at(1800.0) == pytest.approx(1010.0)


def test_bad_solar_file_is_reported_cell_by_cell(tmp_path):
    rows = solar_rows()
    rows[2][4] = "cloudy"
    rows[9][0] = -1
    rows[10][23] = ""
    rows[11] = rows[11][:20]
    file = write_csv(tmp_path / "solar.csv", rows)
    with pytest.raises(ConfigError) as caught:
        read_solar_csv(file)
    lines = [str(problem) for problem in caught.value.problems]
    assert lines == [
        f"{file}: row 3, column 5 is cloudy, it must be a number of W, 0 or more",
        f"{file}: row 10, column 1 is -1, it must be a number of W, 0 or more",
        f"{file}: row 11, column 24 is empty, it must be a number of W, 0 or more",
        f"{file}: row 12 is 20 columns wide, a row has 24 columns, one per hour",
    ]


def test_short_solar_file_is_refused(tmp_path):
    file = write_csv(tmp_path / "solar.csv", solar_rows()[:100])
    with pytest.raises(ConfigError, match="100 rows long"):
        read_solar_csv(file)


def test_file_that_is_something_else_is_not_listed_without_end(tmp_path):
    file = write_csv(tmp_path / "solar.csv", [["x"] * 24] * 365)
    with pytest.raises(ConfigError) as caught:
        read_solar_csv(file)
    assert len(caught.value.problems) == 9
    assert "8752 more" in str(caught.value.problems[-1])


@pytest.mark.parametrize("days", [100, 367, 730])
def test_a_solar_file_has_the_days_of_one_year(tmp_path, days):
    rows = (solar_rows() * 2)[:days]
    with pytest.raises(ConfigError, match=f"{days} rows long, it must have 365 or 366"):
        read_solar_csv(write_csv(tmp_path / "solar.csv", rows))


def test_other_separators_are_named(tmp_path):
    (tmp_path / "solar.csv").write_text("\n".join([";".join(["1"] * 24)] * 365))
    with pytest.raises(ConfigError, match=r"row 1 is 1 columns wide.*not semicolons"):
        read_solar_csv(str(tmp_path / "solar.csv"))


@pytest.mark.parametrize("leap_file", [False, True])
@pytest.mark.parametrize("start", ["2023-12-31", "2024-02-20", "2025-02-20"])
def test_a_day_of_the_year_is_that_day_in_every_year(leap_file, start):
    year = Year(datetime.fromisoformat(start), Place())
    calendar = [date(2024, 1, 1) + timedelta(days=n) for n in range(366)]
    if not leap_file:
        calendar.remove(date(2024, 2, 29))
    days = np.array([[100.0 * day.month + day.day] * 24 for day in calendar])
    instants = year.instants(3600.0)
    wanted = 100 * np.asarray(instants.month) + np.asarray(instants.day)
    if not leap_file:
        wanted[wanted == 229] = 228
    assert (hourly_year(year, days) == wanted).all()


def test_missing_file_is_one_line():
    with pytest.raises(ConfigError) as caught:
        read_solar_csv("nowhere.csv")
    assert [str(p) for p in caught.value.problems] == ["nowhere.csv: no such file"]


def test_binary_file_is_one_line(tmp_path):
    (tmp_path / "solar.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="must be UTF-8"):
        read_solar_csv(str(tmp_path / "solar.csv"))


def test_bad_load_file_is_reported(tmp_path):
    rows = load_rows()
    rows[1][6] = "nan"
    rows[2][1] = "E001"
    rows[3] = rows[3][:50]
    rows[400][7] = "of another customer"
    file = write_csv(tmp_path / "load.csv", rows)
    with pytest.raises(ConfigError) as caught:
        read_load_csv(file, [1])
    assert [problem.key for problem in caught.value.problems] == [
        "row 2, column 7",
        "row 3, column 2",
        "row 4",
    ]


def test_customer_that_is_not_in_the_file(tmp_path):
    file = write_csv(tmp_path / "load.csv", load_rows())
    with pytest.raises(ConfigError, match=r"customer 7 .* it has customers 1 to 2"):
        read_load_csv(file, [7])


def test_customer_number_comes_from_the_unit_id():
    assert customer_of("E012") == 12
    assert customer_of("HOUSE") is None


def test_problems_of_all_files_come_at_once(grid, tmp_path):
    bad = grid(House(solar_csv="no.csv", load_csv="none.csv"), House(solar_csv="neither.csv"))
    (tmp_path / "hardware.json").write_text("{}")
    with pytest.raises(ConfigError) as caught:
        build_plant(bad)
    sources = {problem.source for problem in caught.value.problems}
    assert sources == {"no.csv", "none.csv", "neither.csv", str(tmp_path / "hardware.json")}


# --- what is drawn ----------------------------------------------------------------------------


def test_drawn_values_keep_what_is_given(grid):
    (entry,) = grid(House(pv_peak_w=1.0, initial_soc_ratio=0.0)).units
    house = drawn(entry, 0, seed=1, is_north=True)
    assert (house.pv_peak_w, house.initial_soc_ratio) == (1.0, 0.0)
    assert 2.5e6 <= house.load_wh_per_year <= 5.5e6
    assert 120.0 <= house.pv_azimuth_deg <= 240.0


def test_houses_differ_and_do_not_depend_on_each_other(grid):
    entries = grid(*[House()] * 8).units
    houses = [drawn(e, i, seed=1, is_north=True) for i, e in enumerate(entries)]
    assert len({house.pv_peak_w for house in houses}) == 8
    assert houses[3] == drawn(entries[3], 3, seed=1, is_north=True)
    assert houses[3] != drawn(entries[3], 3, seed=2, is_north=True)


@pytest.mark.parametrize("seed", range(5))
def test_charge_is_spread_so_that_somebody_can_give_and_somebody_needs(grid, seed):
    entries = grid(*[House()] * 4).units
    charges = [drawn(e, i, seed, is_north=True).initial_soc_ratio for i, e in enumerate(entries)]
    assert min(charges) < 0.6
    assert max(charges) > 0.75


def test_plant_is_reproducible(grid, tmp_path, monkeypatch):
    plants = []
    for cache in ("one", "other"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        plants.append(build_plant(grid(House(), House(mains=False), seed=7)))
    for plant in plants:
        plant.step(3600.0)
    one, other = ([u.battery.stored_wh for u in plant.units.values()] for plant in plants)
    assert one == other
    assert plants[0].units["E001"].flow.solar_available_w > 0.0
    assert not plants[0].units["E002"].installation.mains


def test_profiles_on_disk_are_the_same_and_need_no_modelling(grid, own_cache, monkeypatch):
    description = grid(House())
    made = build_plant(description).units["E001"].installation.at
    assert len(list(own_cache.glob("*.npy"))) == 2
    for module in ("pvlib", "demandlib", "apis_emulator.profiles.solar"):
        monkeypatch.setitem(sys.modules, module, None)  # an import would fail
    read = build_plant(description).units["E001"].installation.at
    hours = [3600.0 * hour for hour in range(24)]
    assert [read(time_s) for time_s in hours] == [made(time_s) for time_s in hours]
    with pytest.raises(ImportError):
        build_plant(grid(House(), seed=99))


def test_broken_file_on_disk_is_made_anew(grid, own_cache):
    made = build_plant(grid(House())).units["E001"].installation.at(3600.0)
    for file in own_cache.glob("*.npy"):
        file.write_bytes(b"broken")
    assert build_plant(grid(House())).units["E001"].installation.at(3600.0) == made


def test_start_without_a_writable_cache(grid, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert build_plant(grid(House())).units["E001"].installation.load.at(3600.0) > 0.0


def test_battery_size_comes_from_the_hardware_file(grid):
    house = House(pv_peak_w=0.0, load_wh_per_year=0.0)
    larger = House(pv_peak_w=0.0, load_wh_per_year=0.0, battery_capacity_wh=9600.0)
    plant = build_plant(grid(house, larger))
    assert [u.battery.capacity_wh for u in plant.units.values()] == [4800.0, 9600.0]


def test_start_is_local_time_at_the_place(grid):
    # 2025-06-21 08:00 in Tokyo is 2025-06-20 23:00 UTC.
    assert start_of(grid(House(), start="2025-06-21T08:00")) == 1_750_460_400 * 10**9
