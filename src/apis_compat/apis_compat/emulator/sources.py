"""Where sun and load of the original emulator come from: its own files, or a modelled year."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from apis_compat.emulator.inputs import HOURS, FloatArray, Inputs
from apis_compat.emulator.model import MAX_UNITS, START
from apis_core.model.errors import ConfigError, Problem
from apis_emulator.houses import Modelled, drawn
from apis_emulator.profiles.csv_files import customers_of, read_load_csv, read_solar_csv
from apis_emulator.profiles.series import Series, Year
from apis_site.grid import House, Place, UnitEntry

__all__ = ["inputs_of"]

W_PER_KW = 1000.0
MOST_DAYS = 36_500  # it goes on to the end of its files, however many years they have
PEAK_W, TILT_DEG, AZIMUTH_DEG = 3500.0, 20.0, 180.0


def inputs_of(solar_csv: Path | None, load_csv: Path | None, seed: int) -> Inputs:
    """Sun and load of a year.

    Args:
        solar_csv: A file of the original's format; None = a south roof of 3.5 kWp at the default
            place.
        load_csv: Likewise; None = households drawn from the seed.
        seed: Fixes weather and households.

    Raises:
        ConfigError: A file is wrong; lists every problem of it.
    """
    modelled = Modelled(Year(START, Place()), seed)
    if solar_csv is None:
        roof = House(pv_peak_w=PEAK_W, pv_tilt_deg=TILT_DEG, pv_azimuth_deg=AZIMUTH_DEG)
        solar_w = _hourly(modelled.year.series(modelled.solar(roof, "E001")))
    else:
        solar_w = read_solar_csv(str(solar_csv), most_days=MOST_DAYS).ravel()
    if load_csv is not None:
        return Inputs(solar_w, *_from_file(str(load_csv)))

    def load_kw(number: int) -> FloatArray:
        entry = UnitEntry(id=f"E{number:03}", hardware="-", scenario="-")
        house = drawn(entry, number - 1, seed, is_north=True)
        return _hourly(modelled.year.series(modelled.load(house, entry.id))) / W_PER_KW

    return Inputs(solar_w, load_kw, MAX_UNITS)


def _from_file(file: str) -> tuple[Callable[[int], FloatArray], int]:
    """Loads of the customers 1, 2, ... of a file, and how many there are."""
    known = customers_of(file)
    houses = next((n for n, customer in enumerate(known) if customer != n + 1), len(known))
    if not houses:
        right = "it must be customer 1; units are the customers 1, 2, ..."
        raise ConfigError([Problem(file, "lowest customer", str(known[0]), right)])
    days = read_load_csv(file, known[:houses], per_kw=1.0, most_days=MOST_DAYS)
    return lambda number: days[number].ravel(), houses


def _hourly(series: Series) -> FloatArray:
    """Samples at full hours, as coarse as the original's tables."""
    return np.array([series.at(3600.0 * hour) for hour in range(HOURS)])
